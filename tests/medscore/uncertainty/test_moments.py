"""Higher moments given the noisy image, against Isserlis' theorem and Gauss-Hermite quadrature."""

import itertools

import numpy as np
import pytest
import torch
from shapes import unchecked_shapes
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.priors.analytic import GaussianPrior, GMMPrior
from medscore.priors.base import Prior
from medscore.sdes.base import SDE
from medscore.sdes.linear import VE, VP, SubVP
from medscore.types import State, Times
from medscore.uncertainty import cumulants, moment, shape_along

SDES: list[SDE] = [VE(0.05, 10.0), VP(), SubVP()]
all_sdes = pytest.mark.parametrize("sde", SDES, ids=lambda sde: type(sde).__name__)
T = torch.tensor([0.2, 0.6], dtype=torch.float64)
D = 2


def gaussian(sde: SDE) -> GaussianPrior:
    covariance = torch.tensor([[0.5, 0.2], [0.2, 0.3]], dtype=torch.float64)
    return GaussianPrior(sde, torch.tensor([0.4, -0.7], dtype=torch.float64), covariance)


def mixture(sde: SDE) -> GMMPrior:
    weights = torch.tensor([0.3, 0.7], dtype=torch.float64)
    means = torch.tensor([[-1.0, 0.2], [0.6, -0.4]], dtype=torch.float64)
    shapes = torch.tensor(
        [[[0.2, 0.05], [0.05, 0.1]], [[0.1, -0.03], [-0.03, 0.3]]], dtype=torch.float64
    )
    return GMMPrior(sde, weights, means, shapes)


def states() -> Tensor:
    return torch.tensor([[0.3, -0.2], [0.9, 0.4]], dtype=torch.float64)


def hermite(prior: GMMPrior, x: Tensor, t: Tensor, order: int) -> Tensor:
    """E[x_0^n | x_t] of one state by quadrature of each component's Gaussian posterior.

    A product rule with 12 nodes per axis integrates polynomials of degree 23 exactly.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(12)
    grid = torch.tensor(list(itertools.product(nodes, repeat=D)), dtype=torch.float64)
    share = torch.tensor([a * b for a, b in itertools.product(weights, repeat=D)])
    share = share / share.sum()
    ratio = float(prior.sde.ratio(t)) ** 2
    eye = torch.eye(D, dtype=torch.float64)
    y = x / float(prior.sde.alpha(t))
    total = torch.zeros([D] * order, dtype=torch.float64)
    logs = []
    for w, m, c in zip(prior.weights, prior.means, prior.covariances, strict=True):
        normal = torch.distributions.MultivariateNormal(m, c + ratio * eye)
        logs.append(torch.log(w) + normal.log_prob(y))
    for r, m, c in zip(
        torch.softmax(torch.stack(logs), 0), prior.means, prior.covariances, strict=True
    ):
        gain = c @ torch.linalg.inv(c + ratio * eye)
        points = m + gain @ (y - m) + grid @ torch.linalg.cholesky(c - gain @ c).T
        power = torch.ones(len(points), dtype=torch.float64)
        for _ in range(order):
            power = power[..., None] * points.reshape(-1, *[1] * (power.ndim - 1), D)
        total += r * torch.einsum("p,p...->...", share, power)
    return total


@all_sdes
@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("make", [gaussian, mixture])
def test_moments_are_those_of_the_posterior(make, order: int, sde: SDE) -> None:  # type: ignore[no-untyped-def]
    prior, x = make(sde), states()
    found = moment(prior, x, T, order)
    assert found.shape == (2, *[D] * order)
    for i in range(2):
        torch.testing.assert_close(
            found[i], hermite(prior, x[i], T[i], order), rtol=1e-9, atol=1e-11
        )


@all_sdes
def test_the_fourth_moment_of_a_gaussian_is_isserlis(sde: SDE) -> None:
    """E[abcd] of a centred Gaussian is the sum over the three pairings; here the mean is D = 0."""
    prior = GaussianPrior(sde, torch.zeros(D).double(), gaussian(sde).covariances[0])
    x = torch.zeros(2, D, dtype=torch.float64)
    c = prior.covariance(x, T)
    pairings = ("bij,bkl->bijkl", "bik,bjl->bijkl", "bil,bjk->bijkl")
    exact = sum(torch.einsum(pairing, c, c) for pairing in pairings)
    torch.testing.assert_close(moment(prior, x, T, 4), exact)


@all_sdes
def test_cumulants_along_a_direction_are_those_of_the_moments(sde: SDE) -> None:
    prior, x = mixture(sde), states()
    v = torch.tensor([[1.0, 0.0], [0.6, -0.8]], dtype=torch.float64)
    letters, raw = "ijkl", []
    for n in range(1, 5):
        spec = f"b{letters[:n]}," + ",".join(f"b{letter}" for letter in letters[:n]) + "->b"
        raw.append(torch.einsum(spec, moment(prior, x, T, n), *[v] * n))
    m1, m2, m3, m4 = raw
    variance = m2 - m1**2
    third = m3 - 3 * m1 * m2 + 2 * m1**3
    fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4 - 3 * variance**2
    found = cumulants(prior, x, T, v, 4)
    expected = torch.stack([m1, variance, third, fourth], 1)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-10)
    skewness, kurtosis = shape_along(prior, x, T, v)
    torch.testing.assert_close(skewness, third / variance**1.5, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(kurtosis, fourth / variance**2, rtol=1e-6, atol=1e-9)
    assert float(skewness.abs().min()) > 1e-4


@all_sdes
def test_cumulants_of_a_gaussian_end_with_the_variance(sde: SDE) -> None:
    prior, x = gaussian(sde), states()[:, None, None]
    v = torch.ones_like(x)
    found = cumulants(prior, x, T, v, 4)
    c = prior.covariance(x, T).sum((1, 2))
    torch.testing.assert_close(found[:, 1], c)
    assert float(found[:, 2:].abs().max()) < 1e-10


class Affine(Prior):
    """A network whose first derivative is constant, so that its graph ends there."""

    sde = VP()

    def denoise(self, x: State, t: Times) -> State:
        return x / 2


def test_derivatives_that_vanish_are_zero() -> None:
    found = cumulants(Affine(), states(), T, torch.ones(2, 2).double(), 4)
    assert bool((found[:, 1] > 0).all())
    assert torch.equal(found[:, 2:], torch.zeros(2, 2).double())
    assert moment(Affine(), states(), T, 3).shape == (2, 2, 2, 2)


@pytest.mark.parametrize("order", [0, 1.5, -1])
def test_orders_out_of_range_are_refused(order: int) -> None:
    for work in (
        lambda: moment(gaussian(VP()), states(), T, order),
        lambda: cumulants(gaussian(VP()), states(), T, states(), order),
    ):
        with unchecked_shapes(), pytest.raises(MedscoreError, match=f"`order` is {order}"):
            work()


def test_a_moment_of_too_many_values_is_refused() -> None:
    with pytest.raises(MedscoreError, match=r"moment of 100 values has 1e\+08 - use `cumulants`"):
        moment(Affine(), torch.zeros(2, 1, 10, 10).double(), T, 4)

"""The covariance of the clean image given the noisy one: closed forms, quadrature, Jacobians."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from shapes import unchecked_shapes
from support import SharedNoise
from torch import Tensor, nn

from medscore.errors import MedscoreError
from medscore.priors.analytic import GaussianPrior, GMMPrior
from medscore.priors.base import Prior
from medscore.priors.counted import Counted
from medscore.priors.derivative import differentiable, push_forward
from medscore.priors.network import NetworkPrior
from medscore.sdes.base import SDE
from medscore.sdes.linear import VE, VP, SubVP
from medscore.types import State, Times
from medscore.uncertainty import (
    PosteriorCovariance,
    covariance_diagonal,
    covariance_eigenvectors,
    covariance_product,
)
from medscore.white_noise import Noise

SDES: list[SDE] = [VE(0.05, 10.0), VP(), SubVP()]
all_sdes = pytest.mark.parametrize("sde", SDES, ids=lambda sde: type(sde).__name__)
TIMES = torch.tensor([0.15, 0.4, 0.8], dtype=torch.float64)


def mixture(sde: SDE, d: int = 8) -> GMMPrior:
    """Three overlapping Gaussians of different shapes in float64."""
    generator = torch.Generator().manual_seed(0)
    roots = 0.5 * torch.randn(3, d, d, generator=generator, dtype=torch.float64)
    means = torch.randn(3, d, generator=generator, dtype=torch.float64)
    return GMMPrior(sde, torch.tensor([0.2, 0.3, 0.5]).double(), means, roots @ roots.mT / d**0.5)


def draws(*shape: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


class Twisted(nn.Module):
    """A network whose Jacobian is not symmetric, with two channels as complex images have."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        kernel = 0.3 * torch.randn(2, 2, 3, 3, generator=generator, dtype=torch.float64)
        self.weight = nn.Parameter(kernel)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        return torch.tanh(nn.functional.conv2d(x, self.weight, padding=1))


def network() -> NetworkPrior:
    return NetworkPrior(Twisted(), VE(0.05, 10.0))


def jacobian(prior: Prior, x: Tensor, t: Tensor) -> Tensor:
    """dD/dx of each sample, (batch, D, D), by torch itself."""
    rows = []
    for i in range(len(x)):

        def one(v: Tensor, i: int = i) -> Tensor:
            return prior.denoise(v[None], t[i : i + 1])[0]

        found = torch.autograd.functional.jacobian(one, x[i])
        rows.append(found.reshape(x[0].numel(), -1))
    return torch.stack(rows)


@all_sdes
@pytest.mark.parametrize("shape", [(8,), (1, 2, 4), (2, 2, 2)], ids=str)
def test_products_are_those_of_the_exact_covariance_of_a_mixture(
    sde: SDE, shape: tuple[int, ...]
) -> None:
    prior, x, v = mixture(sde), draws(3, *shape), draws(3, *shape, seed=2)
    exact = torch.einsum("bde,be->bd", prior.covariance(x, TIMES), v.flatten(1)).reshape(x.shape)
    assert float((covariance_product(prior, x, TIMES, v) - exact).abs().max()) < 1e-9
    symmetric = PosteriorCovariance.at(prior, x, TIMES).symmetric_product(v)
    assert float((symmetric - exact).abs().max()) < 1e-9


@all_sdes
@pytest.mark.parametrize("shape", [(8,), (1, 2, 4)], ids=str)
def test_a_mixture_knows_its_covariance_in_factors(sde: SDE, shape: tuple[int, ...]) -> None:
    prior, x = mixture(sde), draws(3, *shape)
    mean, covariance = prior.denoise_with_covariance(x, TIMES)
    torch.testing.assert_close(mean, prior.denoise(x, TIMES), rtol=1e-9, atol=1e-12)
    flat = covariance.factors.flatten(2)
    assert not covariance.diagonal.any()
    found = torch.einsum("bkd,bke->bde", flat, flat)
    torch.testing.assert_close(found, prior.covariance(x, TIMES), rtol=1e-9, atol=1e-12)
    far = (100 * x).requires_grad_(True)  # one component is certain, the others have no share
    prior.denoise_with_covariance(far, TIMES)[1].factors.square().sum().backward()
    assert far.grad is not None
    assert bool(torch.isfinite(far.grad).all())


@all_sdes
def test_the_covariance_of_a_gaussian_is_the_closed_form(sde: SDE) -> None:
    """(C^-1 + (alpha / sigma)^2 I)^-1 at any x."""
    root = draws(4, 4, seed=3)
    prior = GaussianPrior(sde, draws(4), root @ root.T)
    for t in TIMES:
        precision = torch.linalg.inv(root @ root.T) + torch.eye(4).double() / sde.ratio(t) ** 2
        found = prior.covariance(5 * draws(1, 4, seed=4), t[None])[0]
        torch.testing.assert_close(found, torch.linalg.inv(precision), rtol=1e-9, atol=1e-12)


@all_sdes
def test_the_covariance_of_a_mixture_is_that_of_bayes_rule_by_quadrature(sde: SDE) -> None:
    """In one dimension, moments of p(x_0) N(x; alpha x_0, sigma^2) on a fine grid."""
    weights = torch.tensor([0.3, 0.7], dtype=torch.float64)
    means = torch.tensor([[-1.0], [0.8]], dtype=torch.float64)
    shapes = torch.tensor([[[0.1]], [[0.4]]], dtype=torch.float64)
    prior = GMMPrior(sde, weights, means, shapes)
    x0 = np.linspace(-6, 6, 20001)
    density = sum(
        w / math.sqrt(c) * np.exp(-((x0 - m) ** 2) / (2 * c))
        for w, m, c in ((0.3, -1.0, 0.1), (0.7, 0.8, 0.4))
    )
    for t in TIMES:
        alpha, sigma, x = float(sde.alpha(t)), float(sde.sigma(t)), 0.2
        joint = density * np.exp(-((x - alpha * x0) ** 2) / (2 * sigma**2))
        mean = (x0 * joint).sum() / joint.sum()
        variance = ((x0 - mean) ** 2 * joint).sum() / joint.sum()
        found = prior.covariance(torch.tensor([[x]], dtype=torch.float64), t[None])
        assert float(found) == pytest.approx(variance, rel=1e-9)


def test_the_product_of_a_network_is_that_with_the_transposed_jacobian() -> None:
    prior, x, v = network(), draws(3, 2, 3, 4), draws(3, 2, 3, 4, seed=2)
    full = jacobian(prior, x, TIMES)
    gain = prior.sde.sigma(TIMES)[:, None] ** 2
    back = gain * torch.einsum("bde,bd->be", full, v.flatten(1))
    forth = gain * torch.einsum("bde,be->bd", full, v.flatten(1))
    assert float((back - forth).abs().max()) > 1e-3
    found = covariance_product(prior, x, TIMES, v).flatten(1)
    torch.testing.assert_close(found, back)
    symmetric = PosteriorCovariance.at(prior, x, TIMES).symmetric_product(v).flatten(1)
    torch.testing.assert_close(symmetric, (back + forth) / 2)
    leaf, graph = differentiable(prior, x, TIMES)
    assert push_forward(graph, leaf, v).shape == x.shape


def test_products_can_be_repeated_and_leave_no_gradients() -> None:
    prior, x = network(), draws(3, 2, 3, 4)
    posterior = PosteriorCovariance.at(prior, x, TIMES)
    first, second = posterior.product(x), posterior.product(x)
    assert torch.equal(first, second)
    assert not first.requires_grad
    assert not posterior.symmetric_product(x).requires_grad
    assert all(p.grad is None for p in prior.parameters())


@all_sdes
def test_the_exact_diagonal_is_that_of_the_covariance(sde: SDE) -> None:
    prior, x = mixture(sde), draws(3, 2, 2, 2)
    exact = prior.covariance(x, TIMES).diagonal(dim1=1, dim2=2).reshape(x.shape)
    torch.testing.assert_close(PosteriorCovariance.at(prior, x, TIMES).exact_diagonal(), exact)


def test_one_probe_is_exact_without_correlations() -> None:
    prior = GaussianPrior(VP(), torch.zeros(6).double(), torch.diag(torch.arange(1.0, 7).double()))
    x = draws(3, 6)
    found = covariance_diagonal(prior, x, TIMES, Noise([0, 1, 2]), probes=1)
    torch.testing.assert_close(found, prior.covariance(x, TIMES).diagonal(dim1=1, dim2=2))


def test_the_probed_diagonal_does_not_depend_on_the_batch() -> None:
    prior, x = network(), draws(3, 2, 3, 4)
    whole = covariance_diagonal(prior, x, TIMES, Noise([5, 6, 7]), probes=3)
    alone = covariance_diagonal(prior, x[1:2], TIMES[1:2], Noise([6]), probes=3)
    torch.testing.assert_close(whole[1:2], alone)
    other = covariance_diagonal(prior, x, TIMES, Noise([8, 9, 10]), probes=3)
    assert float((whole - other).abs().max()) > 1e-3


@pytest.mark.statistical
def test_the_probed_diagonal_has_the_stated_mean_and_standard_error() -> None:
    """1,000 probes of 8 values: within 6 standard errors, false-alarm rate below 1e-7.

    The standard error is the root sum of squares of the other entries of the row.
    """
    prior, x, t = mixture(VP()), draws(1, 8), TIMES[:1]
    matrix = prior.covariance(x, t)[0]
    beside = matrix - torch.diag(matrix.diagonal())
    error = beside.square().sum(1).sqrt() / 1000**0.5
    z = (covariance_diagonal(prior, x, t, Noise([0]), probes=1000)[0] - matrix.diagonal()) / error
    assert float(z.abs().max()) < 6
    assert float(z.abs().max()) > 0.1


@all_sdes
def test_leading_eigenvectors_are_those_of_the_exact_covariance(sde: SDE) -> None:
    prior, x = mixture(sde), draws(3, 2, 2, 2)
    values, vectors = torch.linalg.eigh(prior.covariance(x, TIMES))
    found = covariance_eigenvectors(prior, x, TIMES, 3, tolerance=1e-10)
    torch.testing.assert_close(found.values, values.flip(1)[:, :3], rtol=1e-6, atol=1e-12)
    assert found.vectors.shape == (3, 3, 2, 2, 2)
    exact = vectors.flip(2)[:, :, :3].mT
    along = torch.einsum("bkd,bkd->bk", exact, found.vectors.flatten(2)).abs()
    torch.testing.assert_close(along, torch.ones_like(along), rtol=1e-6, atol=0)


def test_eigenvectors_of_a_network_are_those_of_the_symmetric_part_in_any_batch() -> None:
    prior, x = network(), draws(3, 2, 3, 4)
    full = jacobian(prior, x, TIMES)
    symmetric = prior.sde.sigma(TIMES)[:, None, None] ** 2 * (full + full.mT) / 2
    found = covariance_eigenvectors(prior, x, TIMES, 2, seeds=[3, 4, 5], tolerance=1e-8)
    exact = torch.linalg.eigvalsh(symmetric).flip(1)[:, :2]
    torch.testing.assert_close(found.values, exact, rtol=1e-5, atol=1e-10)
    flat = found.vectors.flatten(2)
    peak = flat.gather(2, flat.abs().argmax(2, keepdim=True))
    assert bool((peak > 0).all())
    alone = covariance_eigenvectors(prior, x[1:2], TIMES[1:2], 2, seeds=[4], tolerance=1e-8)
    torch.testing.assert_close(alone.vectors[0], found.vectors[1])


@pytest.mark.parametrize("count", [0, 8, -1])
def test_a_number_of_eigenvectors_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(MedscoreError, match=rf"`count` is {count} - use 1 to 7"):
        covariance_eigenvectors(mixture(VP()), draws(1, 8), TIMES[:1], count)


class Detached(Prior):
    sde = VP()

    def denoise(self, x: State, t: Times) -> State:
        return x.detach() / 2


class Wrong(Prior):
    sde = VP()

    def denoise(self, x: State, t: Times) -> State:
        return x[:, :1]


@pytest.mark.parametrize(
    "work",
    [
        lambda prior: covariance_product(prior, draws(3, 4), TIMES, draws(3, 4)),
        lambda prior: covariance_diagonal(prior, draws(3, 4), TIMES, SharedNoise(0)),
        lambda prior: covariance_eigenvectors(prior, draws(3, 4), TIMES, 1),
    ],
    ids=["product", "diagonal", "eigenvectors"],
)
def test_a_denoised_image_without_a_derivative_is_refused(work: Callable[[Prior], object]) -> None:
    with unchecked_shapes(), pytest.raises(MedscoreError, match="Detached has no derivative"):
        work(Detached())
    with unchecked_shapes(), pytest.raises(MedscoreError, match=r"Wrong returned the shape \("):
        work(Wrong())


def test_a_counted_prior_has_the_covariance_of_its_prior_and_counts_it() -> None:
    prior, x = mixture(VP()), draws(3, 8)
    counted = Counted(prior)
    assert torch.equal(counted.covariance(x, TIMES), prior.covariance(x, TIMES))
    assert counted.nfe == 1
    assert not hasattr(Counted(network()), "covariance")

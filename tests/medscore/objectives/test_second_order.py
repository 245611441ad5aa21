"""Second-order score matching: its closed forms, its minimiser, and its variance reduction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from medscore.objectives.second_order import (
    SecondOrder,
    antithetic_loss,
    likelihood_loss,
    residual_loss,
)
from medscore.objectives.symmetric import Symmetric
from medscore.objectives.variance_reduction import denoising_vr
from medscore.priors.analytic import GaussianPrior, GMMPrior
from medscore.priors.base import Prior
from medscore.sdes.base import SDE
from medscore.sdes.linear import VE, VP, SubVP
from medscore.types import State, Times
from medscore.uncertainty.blocks import BlockCovariance
from medscore.uncertainty.low_rank import DiagonalLowRank

F64 = torch.float64
FORMS: list[Any] = ["diagonal", "low_rank"]
LOSSES = {
    "error": lambda k, p, z, form: residual_loss(k, p, z, form, "error"),
    "noise, Eq. 4.11": lambda k, p, z, form: residual_loss(k, p, z, form, "noise"),
    "likelihood": lambda k, p, z, form: likelihood_loss(k, z - p, form),
}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def cubature(d: int) -> Tensor:
    """Points with equal weights whose first and second moments are those of N(0, I)."""
    return math.sqrt(d) * torch.cat([torch.eye(d, dtype=F64), -torch.eye(d, dtype=F64)])


def dense(matrix: Symmetric) -> Tensor:
    low = torch.einsum("j,bjd,bje->bde", matrix.signs, matrix.vectors, matrix.vectors)
    return torch.diag_embed(matrix.diagonal) + low


def test_norm_form_and_diagonal_are_those_of_the_matrix() -> None:
    covariance = DiagonalLowRank(normal(3, 5).square(), normal(3, 2, 5, seed=1))
    u, v = normal(3, 5, seed=2), normal(3, 5, seed=3)
    matrix = Symmetric.of(covariance, -1.0).plus(1.0, u).plus(-1.0, v)
    full = dense(matrix)
    torch.testing.assert_close(matrix.square(), full.square().sum((1, 2)))
    torch.testing.assert_close(matrix.entries(), full.diagonal(dim1=1, dim2=2))
    torch.testing.assert_close(matrix.form(v), torch.einsum("bd,bde,be->b", v, full, v))


@dataclass(frozen=True)
class Gaussian:
    """Gaussian data in D dimensions: points of (x_t, z) with the exact second moments, and K."""

    d: int
    sigma: float

    @property
    def covariance(self) -> Tensor:
        root = 0.7 * normal(self.d, self.d, seed=4)
        return root @ root.T + 0.05 * torch.eye(self.d, dtype=F64)

    @property
    def k(self) -> Tensor:
        """I + sigma^2 s_2 with the Hessian s_2 = -(C + sigma^2 I)^-1 of log p_t."""
        eye = torch.eye(self.d, dtype=F64)
        return eye - self.sigma**2 * torch.linalg.inv(self.covariance + self.sigma**2 * eye)

    def draws(self) -> tuple[Tensor, Tensor]:
        """The predicted noise and the noise."""
        points = cubature(2 * self.d)
        z = points[:, self.d :]
        x = points[:, : self.d] @ torch.linalg.cholesky(self.covariance).T + self.sigma * z
        eye = torch.eye(self.d, dtype=F64)
        return x @ torch.linalg.inv(self.covariance + self.sigma**2 * eye) * self.sigma, z


@pytest.mark.parametrize("sigma", [0.1, 1.0])
@pytest.mark.parametrize("loss", list(LOSSES))
def test_the_minimiser_is_the_hessian_of_gaussian_data(loss: str, sigma: float) -> None:
    """The gradient vanishes exactly at K = I - sigma^2 (C + sigma^2 I)^-1, and not beside it."""
    data = Gaussian(4, sigma)
    predicted, z = data.draws()
    values, vectors = torch.linalg.eigh(data.k)
    least = float(values[0]) / 2

    def slope(scale: float) -> float:
        diagonal = torch.full((4,), least, dtype=F64).requires_grad_()
        factors = (scale * (values - least).sqrt() * vectors).T.clone().requires_grad_()
        count = len(z)
        k = DiagonalLowRank(diagonal.expand(count, 4), factors.expand(count, 4, 4))
        LOSSES[loss](k, predicted, z, "low_rank").mean().backward()
        assert diagonal.grad is not None
        assert factors.grad is not None
        return float(torch.cat([diagonal.grad, factors.grad.flatten()]).abs().max())

    assert slope(1.0) < 1e-10
    assert slope(1.05) > 1e-4


@pytest.mark.parametrize("loss", list(LOSSES))
def test_the_minimiser_of_the_diagonal_form_is_the_diagonal(loss: str) -> None:
    data = Gaussian(4, 0.5)
    predicted, z = data.draws()

    def slope(scale: float) -> float:
        diagonal = (scale * data.k.diagonal()).clone().requires_grad_()
        k = DiagonalLowRank(diagonal.expand(len(z), 4), torch.zeros(len(z), 0, 4, dtype=F64))
        LOSSES[loss](k, predicted, z, "diagonal").mean().backward()
        assert diagonal.grad is not None
        return float(diagonal.grad.abs().max())

    assert slope(1.0) < 1e-10
    assert slope(1.05) > 1e-3


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("residual", ["error", "noise"])
def test_the_residual_of_a_mixture_has_mean_zero_given_x_t(d: int, residual: str) -> None:
    """Gauss-Hermite quadrature over x_0 given x_t; the Hessian is by automatic differentiation."""
    means = torch.tensor([[-0.8], [0.3]], dtype=F64).expand(2, d) + 0.1 * normal(2, d)
    variances = torch.tensor([0.02, 0.1], dtype=F64)
    covariances = variances[:, None, None] * torch.eye(d, dtype=F64)
    sde, shares = VE(0.01, 10.0), torch.tensor([0.3, 0.7], dtype=F64)
    prior = GMMPrior(sde, shares, means, covariances)
    nodes, weights = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(20))
    grid = torch.cartesian_prod(*[nodes] * d).reshape(-1, d)
    heights = torch.cartesian_prod(*[weights] * d).reshape(-1, d).prod(1)
    eye = torch.eye(d, dtype=F64)
    for sigma in (0.1, 0.5):
        t = sde.time(torch.tensor([sigma], dtype=F64))
        x = normal(1, d, seed=6)
        s1 = prior.score(x, t)[0]
        s2 = torch.autograd.functional.jacobian(lambda y, t=t: prior.score(y[None], t)[0], x[0])
        total, mass = torch.zeros(d, d, dtype=F64), torch.zeros((), dtype=F64)
        for share, m, v in zip(shares, means, variances, strict=True):
            posterior = v * sigma**2 / (v + sigma**2)
            centre = m + v / (v + sigma**2) * (x[0] - m)
            height = share * torch.exp(-0.5 * ((x[0] - m) ** 2).sum() / (v + sigma**2))
            height = height / (v + sigma**2) ** (d / 2)
            z = (x[0] - centre - posterior.sqrt() * grid) / sigma
            if residual == "error":
                e = z + sigma * s1
                found = eye + sigma**2 * s2 - torch.einsum("ni,nj->nij", e, e)
            else:
                found = s2 + torch.outer(s1, s1)
                found = found + (eye - torch.einsum("ni,nj->nij", z, z)) / sigma**2
            total = total + height * torch.einsum("n,nij->ij", heights, found)
            mass = mass + height * heights.sum()
        assert float((total / mass).abs().max()) < 1e-9 * (1 + float(s2.abs().max()))


class Learned(Prior):
    """A Gaussian prior whose covariance is a parameter beside the exact denoiser."""

    def __init__(self, sde: SDE, k: DiagonalLowRank) -> None:
        self.sde, self.k = sde, k
        d = k.diagonal.shape[1]
        self.inner = GaussianPrior(sde, torch.zeros(d, dtype=F64), torch.eye(d, dtype=F64))

    def denoise(self, x: State, t: Times) -> State:
        return self.inner.denoise(x, t)

    def denoise_with_covariance(self, x: State, t: Times) -> tuple[State, DiagonalLowRank]:
        gain = (self.sde.sigma(t) / self.sde.alpha(t))[:, None]
        b, (d,) = len(x), self.k.diagonal.shape[1:]
        k = DiagonalLowRank(self.k.diagonal.expand(b, d), self.k.factors.expand(b, -1, d))
        return self.denoise(x, t), k.scaled(gain)


@pytest.mark.parametrize("sde", [VE(0.01, 10.0), VP(), SubVP()], ids=["VE", "VP", "sub-VP"])
@pytest.mark.parametrize("form", FORMS)
def test_the_objective_is_the_loss_at_the_noisy_image(sde: SDE, form: Any) -> None:
    """On every SDE, in the units of the noise; the weighting and gamma have their factors."""
    k = DiagonalLowRank(0.3 + normal(1, 3).square(), normal(1, 1, 3, seed=1))
    prior, u = Learned(sde, k), torch.linspace(0.1, 0.9, 6, dtype=F64)
    x0, z = normal(6, 3, seed=2), normal(6, 3, seed=3)
    times = SecondOrder(0.5).times(sde, u)
    s = sde.ratio(times)[:, None]
    predicted = (x0 / s + z) * s**2 / (1 + s**2)
    full = DiagonalLowRank(k.diagonal.expand(6, 3), k.factors.expand(6, 1, 3))
    for residual in ("noise", "error"):
        plain = residual_loss(full, predicted, z, form, residual)  # type: ignore[arg-type]
        found = SecondOrder(0.5, form, residual, "level", 0.6)(prior, x0, u, z)  # type: ignore[arg-type]
        kappa = 0.25 / (0.25 + s[:, 0] ** 2)
        expected = plain / kappa**2 + 0.3 * (z - predicted).square().mean(1)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    found = SecondOrder(0.5, form)(prior, x0, u, z)
    torch.testing.assert_close(found, likelihood_loss(full, z - predicted, form), rtol=1e-6, atol=0)


@pytest.mark.parametrize("form", FORMS)
def test_antithetic_noise_has_the_mean_of_the_plain_loss_and_little_variance(form: Any) -> None:
    """On points z with the exact second moments, with a K and a noise that depend on x.

    The mean is that of the plain loss without E|I - z z^T|^2. In units of s_2, at sigma = 0.001,
    the plain loss scatters more than 1000 times as much as the antithetic one.
    """
    sigma = 1e-3
    z = torch.tensor(list(product((-1.0, 1.0), repeat=3)), dtype=F64)
    z = torch.cat([z, cubature(3)])

    def at(noise: Tensor) -> tuple[DiagonalLowRank, Tensor]:
        x = 0.3 + sigma * noise
        diagonal = 1 - sigma**2 * torch.exp(x)
        factors = sigma * torch.sin(x + torch.arange(3.0))[:, None]
        return DiagonalLowRank(diagonal, factors), sigma * torch.cos(x)

    k, predicted = at(z)
    r = torch.eye(3, dtype=F64) - z[:, :, None] * z[:, None]
    own = r.diagonal(dim1=1, dim2=2).square()
    constant = own.mean(1)
    if form == "low_rank":
        constant = constant + (r.square().sum((1, 2)) - own.sum(1)) / 6
    plain = (residual_loss(k, predicted, z, form, "noise") - constant) / sigma**4
    reduced = antithetic_loss(at(z), at(-z), at(0 * z), z, form) / sigma**4
    assert float(reduced.std()) < 10
    assert float(plain.std()) > 1e3 * float(reduced.std())
    torch.testing.assert_close(plain.mean(), reduced.mean(), rtol=1e-4, atol=1e-4)


def test_the_control_variate_leaves_the_mean_and_removes_the_variance() -> None:
    """DSM-VR on N(0, I) in 2-D at sigma = 0.001: mean and variance by the exact score."""
    sigma, n = 1e-3, 4000
    x, z = normal(n, 2, seed=8), normal(n, 2, seed=9)
    losses = denoising_vr(lambda y: -y / (1 + sigma**2), x, z, sigma)
    assert float(losses.std()) < 3
    assert abs(float(losses.mean()) + 1) < 5 * float(losses.std()) / n**0.5
    plain = 0.5 * ((-(x + sigma * z) / (1 + sigma**2)) + z / sigma).square().sum(1) - 1 / sigma**2
    assert float(plain.std()) > 1e5 * float(losses.std())


@pytest.mark.parametrize(
    "wrong",
    [{"residual": "noise", "weighting": "prediction"}, {"antithetic": True, "weighting": "level"}],
)
def test_options_that_contradict_each_other_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needs residual"):
        SecondOrder(0.5, **wrong)


@dataclass(frozen=True)
class WithBlocks(Prior):
    """The exact denoiser of white data with a covariance of blocks, of any one variance."""

    sde: SDE
    variance: float

    def denoise(self, x: State, t: Times) -> State:
        ratio = self.sde.ratio(t)[:, None, None, None]
        return x / self.sde.alpha(t)[:, None, None, None] * 0.09 / (0.09 + ratio**2)

    def denoise_with_covariance(self, x: State, t: Times) -> tuple[State, BlockCovariance]:
        maps = torch.full((len(x), 16, *x.shape[2:]), self.variance, dtype=x.dtype)
        return self.denoise(x, t), BlockCovariance.from_maps(maps)


@pytest.mark.parametrize("sde", [VE(0.01, 10.0), VP(), SubVP()])
def test_the_objective_of_blocks_is_least_at_the_posterior_covariance(sde: SDE) -> None:
    """White data of deviation 0.3: Cov[x_0 | x_t] = v s^2 / (v + s^2) at one noise level.

    The three losses use the same 200 x 49 x 16 coefficients, whose mean square has a relative
    standard deviation below 1 %, against variances that are 15 % off.
    """
    x0, z = 0.3 * normal(200, 1, 16, 16), normal(200, 1, 16, 16, seed=1)
    s, u = 0.25, torch.full((200,), 0.5, dtype=F64)
    objective = SecondOrder(0.5, "blocks", times=lambda sde, u: sde.time(torch.full_like(u, s)))
    exact = 0.09 * s**2 / (0.09 + s**2)
    losses = [
        float(objective(WithBlocks(sde, exact * factor), x0, u, z).mean())
        for factor in (0.85, 1.0, 1.15)
    ]
    assert losses[1] < min(losses[0], losses[2])

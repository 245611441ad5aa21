"""Second-order score matching in closed form: its minimiser, and the variance of its estimates.

The minimiser for Gaussian data is found by descent from a random start. Data and noise are cubature
points with the exact second moments, so there is no sampling error: the minimiser of Eq. 4.11 must
be -(C + sigma^2 I)^-1. The variances are measured on a mixture of two
Gaussians in the plane, whose score and Hessian are exact, with noise of 0.001.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from number import Number
from torch import Tensor
from uncertainty_settings import Settings

from medscore.objectives.second_order import antithetic_loss, residual_loss
from medscore.objectives.variance_reduction import denoising_vr
from medscore.priors.analytic import GMMPrior
from medscore.sdes.linear import VE
from medscore.uncertainty.low_rank import DiagonalLowRank

D, SIGMA, DRAWS = 6, 1e-3, 20_000
F64 = torch.float64
SDE = VE(1e-4, 10.0)


def gaussian(sigma: float) -> float:
    """The largest error of the minimiser for Gaussian data in 6 dimensions, relative to s_2.

    Args:
        sigma: standard deviation of the noise.
    """
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(D, D, generator=generator, dtype=F64)
    c, eye = root @ root.T + 0.1 * torch.eye(D, dtype=F64), torch.eye(D, dtype=F64)
    points = math.sqrt(2 * D) * torch.cat([torch.eye(2 * D), -torch.eye(2 * D)]).double()
    z = points[:, D:]
    x = points[:, :D] @ torch.linalg.cholesky(c).T + sigma * z
    exact = -torch.linalg.inv(c + sigma**2 * eye)
    factors = torch.randn(D, D, generator=generator, dtype=F64).requires_grad_()
    search = torch.optim.LBFGS(
        [factors], max_iter=2000, tolerance_grad=1e-14, tolerance_change=1e-18,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def loss() -> Tensor:
        search.zero_grad()
        k = DiagonalLowRank(torch.zeros_like(x), factors.expand(len(x), D, D))
        value = residual_loss(k, -sigma * x @ exact, z, "low_rank", "noise").mean()
        value.backward()
        return value

    search.step(loss)
    found = (factors.detach().T @ factors.detach() - eye) / sigma**2
    return float((found - exact).abs().max() / exact.abs().max())


def plane() -> GMMPrior:
    """A mixture of two Gaussians in the plane."""
    means = torch.tensor([[-1.0, 0.0], [1.0, 0.5]], dtype=F64)
    covariances = torch.tensor([[[0.2, 0.1], [0.1, 0.3]], [[0.1, 0.0], [0.0, 0.2]]], dtype=F64)
    return GMMPrior(SDE, torch.tensor([0.4, 0.6], dtype=F64), means, covariances)


def variances() -> Iterator[Number]:
    """Losses at the exact score and Hessian, with and without variance reduction."""
    prior, generator = plane(), torch.Generator().manual_seed(0)
    x = prior.sample(DRAWS, 0.0, generator)
    z = torch.randn(x.shape, generator=generator, dtype=F64)
    t = SDE.time(torch.full((DRAWS,), SIGMA, dtype=F64))

    def score(y: Tensor) -> Tensor:
        return prior.score(y, t)

    def jacobian(y: Tensor) -> Tensor:
        leaf = y.clone().requires_grad_()
        s = score(leaf).sum(0)
        return torch.stack([torch.autograd.grad(r, leaf, retain_graph=True)[0] for r in s], 1)

    exact = (jacobian(x).diagonal(dim1=1, dim2=2).sum(1) + 0.5 * score(x).square().sum(1)).mean()
    reduced = denoising_vr(score, x, z, SIGMA)
    plain = 0.5 * (score(x + SIGMA * z) + z / SIGMA).square().sum(1) - 1 / SIGMA**2
    yield Number("Eq. 3.2 in the plane, the exact mean", float(exact))
    for name, losses in (("DSM", plain), ("DSM-VR", reduced)):
        yield Number(f"{name} at sigma {SIGMA}: mean", float(losses.mean()))
        yield Number(f"{name} at sigma {SIGMA}: standard deviation", float(losses.std()))
    error = float((reduced.mean() - exact).abs() / (reduced.std() / DRAWS**0.5))
    yield Number("DSM-VR: distance of the mean, standard errors", error, "", None, 4)
    gain = float(plain.var() / reduced.var())
    yield Number("DSM's variance by that of DSM-VR", gain, "", 1e8)

    def at(noise: Tensor) -> tuple[DiagonalLowRank, Tensor]:
        y = x + SIGMA * noise
        values, vectors = torch.linalg.eigh(torch.eye(2, dtype=F64) + SIGMA**2 * jacobian(y))
        factors = values.clamp_min(0).sqrt()[:, :, None] * vectors.mT
        return DiagonalLowRank(torch.zeros_like(y), factors), -SIGMA * score(y)

    k, predicted = at(z)
    second = residual_loss(k, predicted, z, "low_rank", "noise") / SIGMA**4
    anti = antithetic_loss((k, predicted), at(-z), at(0 * z), z, "low_rank") / SIGMA**4
    yield Number(f"D2SM at sigma {SIGMA}: standard deviation", float(second.std()))
    yield Number(f"D2SM, antithetic, at sigma {SIGMA}: standard deviation", float(anti.std()))
    yield Number(
        "D2SM's variance by that of antithetic D2SM", float(second.var() / anti.var()), "", 1e8
    )


def numbers(_: Settings) -> Iterator[Number]:
    """The error of the minimiser, and the variances."""
    for sigma in (0.1, 1.0):
        name = f"Gaussian data, sigma {sigma}: largest relative error of the minimiser of Eq. 4.11"
        yield Number(name, gaussian(sigma), "", None, 1e-5)
    yield from variances()

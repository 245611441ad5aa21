"""Priors with densities in closed form, and draws from them."""

import torch
from torch import Tensor

from medscore.priors.analytic import GaussianPrior, GMMPrior
from medscore.sdes.base import SDE
from medscore.sdes.linear import VE, VP, SubVP

D = 3
SDES: list[SDE] = [VE(0.05, 50.0), VP(), SubVP()]
NAMES = [type(sde).__name__ for sde in SDES]


def _spread(seed: int) -> Tensor:
    a = torch.randn(D, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return 0.05 * (a @ a.T) + 0.02 * torch.eye(D, dtype=torch.float64)


def gauss(sde: SDE) -> GMMPrior:
    """A Gaussian prior with correlated values."""
    return GaussianPrior(sde, torch.tensor([0.4, -0.3, 0.1], dtype=torch.float64), _spread(0))


def mixture(sde: SDE) -> GMMPrior:
    """A mixture of three well separated Gaussians."""
    means = torch.tensor([[0.8, 0, 0.2], [-0.5, 0.6, 0], [0, -0.7, -0.4]], dtype=torch.float64)
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    return GMMPrior(sde, weights, means, torch.stack([_spread(i) for i in range(3)]))


def two_modes(sde: SDE) -> GMMPrior:
    """A mixture of two round Gaussians in the plane, of different weights."""
    means = torch.tensor([[-1.0, 0.5], [1.0, 0.3]], dtype=torch.float64)
    covariances = 0.2 * torch.eye(2, dtype=torch.float64).repeat(2, 1, 1)
    return GMMPrior(sde, torch.tensor([0.3, 0.7], dtype=torch.float64), means, covariances)


def points(prior: GMMPrior, n: int, t: float) -> Tensor:
    """Draws from p_t."""
    return prior.sample(n, t, torch.Generator().manual_seed(1))


def times(n: int, t: float) -> Tensor:
    """The same time for n samples."""
    return torch.full((n,), t, dtype=torch.float64)

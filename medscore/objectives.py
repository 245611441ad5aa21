r"""Denoising score matching in continuous time (Song et al. 2022, Eq. 7.7), through the denoiser.

.. math:: E_t\, \lambda(t)\, E \| s_\theta(x_t, t) + z/\sigma \|^2
          = E_t\, \lambda \frac{\alpha^2}{\sigma^4}\, E \| D_\theta(x_t, t) - x_0 \|^2,
          \qquad x_t = \alpha x_0 + \sigma z,

because :math:`s = (\alpha D - x)/\sigma^2`. A weighting is therefore a function of the
noise-to-signal ratio s = sigma/alpha that multiplies the denoising error.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from medscore.prior import Prior
from medscore.sde import SDE
from medscore.types import State, Times

Weighting = Callable[[Tensor], Tensor]


def score_weighting(ratio: Tensor) -> Tensor:
    r""":math:`\lambda = \sigma^2`, the inverse of the score's mean square (below Eq. 7.7)."""
    return ratio**-2


@dataclass(frozen=True)
class EDMWeighting:
    """1/s^2 + 1/d^2 (Karras et al. 2022, Table 1): the network's own target has unit variance."""

    data_std: float

    def __call__(self, ratio: Tensor) -> Tensor:
        return ratio**-2 + self.data_std**-2


def denoising_loss(prior: Prior, x0: State, t: Times, z: State, weighting: Weighting) -> Times:
    """The weighted denoising error of each sample, mean over its pixels, shape (batch,)."""
    sde = prior.sde
    error = (prior.denoise(sde.marginal(x0, t, z), t) - x0).flatten(1).square().mean(1)
    return weighting(sde.ratio(t)) * error


@dataclass(frozen=True)
class LogNormalTimes:
    """Training times whose log noise-to-signal ratio is normal, kept within the SDE's own range.

    Where the normal would leave the range it is drawn from its truncation, by inverse transform.
    """

    mean: float = -1.5
    std: float = 1.4

    def __call__(self, sde: SDE, u: Tensor) -> Tensor:
        """Map uniform draws ``u`` in [0, 1) to times."""
        ends = torch.tensor([sde.eps, 1.0], dtype=torch.float64)
        low, high = (torch.log(sde.ratio(ends)) - self.mean) / self.std
        cdf_low, cdf_high = torch.special.ndtr(low), torch.special.ndtr(high)
        q = cdf_low + (cdf_high - cdf_low) * u.double()
        log_ratio = self.mean + self.std * math.sqrt(2) * torch.erfinv(2 * q - 1)
        return sde.time(torch.exp(log_ratio)).clamp(sde.eps, 1.0).to(u.dtype)


@dataclass(frozen=True)
class UniformTimes:
    """t ~ U[eps, 1], as in Eq. 7.7."""

    def __call__(self, sde: SDE, u: Tensor) -> Tensor:
        """Map uniform draws ``u`` in [0, 1) to times."""
        return sde.eps + (1 - sde.eps) * u

r"""The VE, VP and sub-VP SDEs :math:`dx = f(t) x\,dt + g(t)\,dw` on [0, 1] (Song 2022, Eq. 8.1).

Each has a Gaussian perturbation kernel :math:`x_t = \alpha(t) x_0 + \sigma(t) z` (Eq. B.18), and
alpha and sigma determine the SDE:

.. math:: f = (\log \alpha)', \qquad g^2 = (\sigma^2)' - 2 f \sigma^2.

The dissertation writes :math:`\beta(t)` for the standard deviation of the kernel in chapter 8; here
it is always ``sigma``, and ``beta`` is the noise rate of the VP and sub-VP SDEs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch

from medscore.sdes.base import SDE
from medscore.types import AnyFloat


@final
@dataclass(frozen=True)
class VE(SDE):
    r"""Variance exploding: alpha = 1, sigma(t) = sigma_min (sigma_max/sigma_min)^t (Eq. B.19-B.20).

    The kernel is that of Eq. B.20, so sigma(0) = sigma_min: data at t = 0 contain that noise.

    Attributes:
        sigma_min: smallest noise standard deviation.
        sigma_max: largest noise standard deviation.
        eps: time at which sampling ends.

    Raises:
        ValueError: not 0 < sigma_min < sigma_max.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0
    eps: float = 1e-5

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max:
            raise ValueError(
                f"0 < sigma_min < sigma_max is required, got {self.sigma_min}, {self.sigma_max}"
            )

    def alpha(self, t: AnyFloat) -> AnyFloat:
        return torch.ones_like(t)

    def sigma(self, t: AnyFloat) -> AnyFloat:
        return self.sigma_min * torch.exp(t * self._log_range)

    def drift(self, t: AnyFloat) -> AnyFloat:
        return torch.zeros_like(t)

    def diffusion(self, t: AnyFloat) -> AnyFloat:
        return self.sigma(t) * math.sqrt(2 * self._log_range)

    def time(self, ratio: AnyFloat) -> AnyFloat:
        return torch.log(ratio / self.sigma_min) / self._log_range

    def score_gain(self, s: AnyFloat, t: AnyFloat) -> AnyFloat:
        return self.sigma(t) ** 2 - self.sigma(s) ** 2

    @property
    def prior_std(self) -> float:
        return self.sigma_max

    @property
    def _log_range(self) -> float:
        return math.log(self.sigma_max / self.sigma_min)


@dataclass(frozen=True)
class _LinearBeta(SDE):
    """The common part of VP and sub-VP: a linear noise rate and the prior N(0, I).

    Attributes:
        beta_min: noise rate at t = 0.
        beta_max: noise rate at t = 1.
        eps: time at which sampling ends.

    Raises:
        ValueError: not 0 < beta_min < beta_max.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    eps: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 < self.beta_min < self.beta_max:
            raise ValueError(
                f"0 < beta_min < beta_max is required, got {self.beta_min}, {self.beta_max}"
            )

    def beta(self, t: AnyFloat) -> AnyFloat:
        """The noise rate beta(t) = beta_min + t (beta_max - beta_min).

        Args:
            t: times.
        """
        return self.beta_min + t * (self.beta_max - self.beta_min)

    def log_alpha(self, t: AnyFloat) -> AnyFloat:
        r"""The logarithm of alpha(t), :math:`-\tfrac12 \int_0^t \beta`, Eq. B.22.

        Args:
            t: times.
        """
        return -0.25 * t**2 * (self.beta_max - self.beta_min) - 0.5 * t * self.beta_min

    def alpha(self, t: AnyFloat) -> AnyFloat:
        return torch.exp(self.log_alpha(t))

    def drift(self, t: AnyFloat) -> AnyFloat:
        return -0.5 * self.beta(t)

    def _time_of_log_alpha(self, log_alpha: AnyFloat) -> AnyFloat:
        rise = self.beta_max - self.beta_min
        root = torch.sqrt(0.25 * self.beta_min**2 - rise * log_alpha)
        return -2 * log_alpha / (0.5 * self.beta_min + root)

    @property
    def prior_std(self) -> float:
        return 1.0


@final
@dataclass(frozen=True)
class VP(_LinearBeta):
    r"""Variance preserving: sigma^2 = 1 - alpha^2, g^2 = beta (Eq. B.21-B.22).

    Attributes:
        beta_min: noise rate at t = 0.
        beta_max: noise rate at t = 1.
        eps: time at which sampling ends.
    """

    def sigma(self, t: AnyFloat) -> AnyFloat:
        return torch.sqrt(-torch.expm1(2 * self.log_alpha(t)))

    def diffusion(self, t: AnyFloat) -> AnyFloat:
        return torch.sqrt(self.beta(t))

    def time(self, ratio: AnyFloat) -> AnyFloat:
        return self._time_of_log_alpha(-0.5 * torch.log1p(ratio**2))

    def score_gain(self, s: AnyFloat, t: AnyFloat) -> AnyFloat:
        return 2 * torch.expm1(self.log_alpha(s) - self.log_alpha(t))


@final
@dataclass(frozen=True)
class SubVP(_LinearBeta):
    r"""Sub-VP: sigma = 1 - alpha^2, g^2 = beta (1 - alpha^4) (Eq. B.16, B.23).

    Attributes:
        beta_min: noise rate at t = 0.
        beta_max: noise rate at t = 1.
        eps: time at which sampling ends.
    """

    def sigma(self, t: AnyFloat) -> AnyFloat:
        return -torch.expm1(2 * self.log_alpha(t))

    def diffusion(self, t: AnyFloat) -> AnyFloat:
        return torch.sqrt(self.beta(t) * -torch.expm1(4 * self.log_alpha(t)))

    def time(self, ratio: AnyFloat) -> AnyFloat:
        # sigma / alpha = r  <=>  alpha^2 + r alpha - 1 = 0
        return self._time_of_log_alpha(-torch.asinh(0.5 * ratio))

    def score_gain(self, s: AnyFloat, t: AnyFloat) -> AnyFloat:
        # g^2 / alpha dt = d(2 / alpha + 2 alpha^3 / 3)
        rise, cube = self.log_alpha(s) - self.log_alpha(t), self.alpha(s) ** 4
        return 2 * torch.expm1(rise) + 2 / 3 * cube * torch.expm1(-3 * rise)

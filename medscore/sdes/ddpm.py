"""The discrete Markov chain of DDPM (Song 2022, Eq. B.11) as an SDE."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from medscore.sdes.base import SDE
from medscore.types import AnyFloat


@final
@dataclass(frozen=True)
class DDPM(SDE):
    r"""An SDE whose marginals equal those of DDPM's chain (Eq. B.11) at the times i/N, i = 1 ... N.

    The chain has :math:`\beta_i = \beta_{min}/N + (i-1)/(N(N-1)) (\beta_{max} - \beta_{min})`.
    The data are scaled by :math:`\alpha(i/N) = \prod_{j \le i} \sqrt{1-\beta_j}`, the square root
    of the dissertation's alpha_i; log alpha is linear in between, and sigma^2 = 1 - alpha^2.

    Attributes:
        scales: number of noise scales N.
        beta_min: noise rate at t = 0, per unit of time.
        beta_max: noise rate at t = 1, per unit of time.

    Raises:
        ValueError: fewer than two scales, or not 0 < beta_min < beta_max < scales.
    """

    scales: int = 1000
    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        if self.scales < 2 or not 0 < self.beta_min < self.beta_max < self.scales:
            raise ValueError(
                f"at least 2 scales and 0 < beta_min < beta_max < scales are required, got "
                f"{self.scales}, {self.beta_min}, {self.beta_max}"
            )

    @property
    def eps(self) -> float:  # type: ignore[override]
        """The time of the first scale."""
        return 1 / self.scales

    @cached_property
    def _knots(self) -> Tensor:
        """log alpha at the times 0, 1/N, ..., 1 in float64."""
        steps = torch.linspace(self.beta_min, self.beta_max, self.scales, dtype=torch.float64)
        logs = 0.5 * torch.log1p(-steps / self.scales).cumsum(0)
        return torch.cat([torch.zeros(1, dtype=torch.float64), logs])

    def _segment(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Number, 1 to N, of the segment that contains t, and the change of log alpha across it."""
        k = torch.ceil(t.double() * self.scales - 1e-3).long().clamp(1, self.scales)
        knots = self._knots.to(t.device)
        return k, knots[k] - knots[k - 1]

    def log_alpha(self, t: AnyFloat) -> AnyFloat:
        """The logarithm of alpha(t).

        Args:
            t: times.
        """
        k, slope = self._segment(t)
        knots = self._knots.to(t.device)
        return (knots[k - 1] + slope * (t.double() * self.scales - (k - 1))).to(t.dtype)

    def alpha(self, t: AnyFloat) -> AnyFloat:
        return torch.exp(self.log_alpha(t))

    def sigma(self, t: AnyFloat) -> AnyFloat:
        return torch.sqrt(-torch.expm1(2 * self.log_alpha(t)))

    def drift(self, t: AnyFloat) -> AnyFloat:
        return (self._segment(t)[1] * self.scales).to(t.dtype)

    def diffusion(self, t: AnyFloat) -> AnyFloat:
        return torch.sqrt(-2 * self.drift(t))

    def time(self, ratio: AnyFloat) -> AnyFloat:
        log_alpha = -0.5 * torch.log1p(ratio.double() ** 2)
        knots = self._knots.to(ratio.device)
        k = torch.searchsorted(-knots, -log_alpha.contiguous()).clamp(1, self.scales)
        share = (log_alpha - knots[k - 1]) / (knots[k] - knots[k - 1])
        return ((k - 1 + share) / self.scales).to(ratio.dtype)

    def score_gain(self, s: AnyFloat, t: AnyFloat) -> AnyFloat:
        return 2 * torch.expm1(self.log_alpha(s) - self.log_alpha(t))

    @property
    def prior_std(self) -> float:
        return 1.0

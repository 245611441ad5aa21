r"""Heun's method in EDM coordinates, deterministic and with churn (Karras et al. 2022, Alg. 1, 2).

With :math:`u = x/\alpha` and :math:`v = \sigma/\alpha` the probability flow of every SDE is

.. math:: \frac{du}{dv} = \frac{u - D}{v}.

Best on the ``karras`` grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from medscore.priors.base import Prior
from medscore.samplers.base import Memory, Sampler
from medscore.sdes.base import expand
from medscore.types import State, Times
from medscore.white_noise import Noise


@final
@dataclass(frozen=True)
class Heun(Sampler):
    """Deterministic, second order, two evaluations a step."""

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        return _heun(prior, x, t, s), memory


@final
@dataclass(frozen=True)
class EDMStochastic(Sampler):
    """Raise the noise by a factor 1 + gamma, then one step of Heun from there; two evaluations.

    Args:
        gamma: of :func:`churn`. low, high: noise-to-signal ratios between which noise is added
            (their S_min, S_max). inflate: standard deviation of the noise added (S_noise).

    Noise is not raised beyond the SDE's own largest.

    Raises:
        ValueError: ``gamma`` is not in [0, sqrt(2) - 1].
    """

    gamma: float
    low: float = 0.0
    high: float = math.inf
    inflate: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.gamma <= math.sqrt(2) - 1:
            raise ValueError(f"gamma must be in [0, sqrt(2) - 1], got {self.gamma}")

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        sde = prior.sde
        v = sde.ratio(t)
        within = (v >= self.low) & (v <= self.high) & (self.gamma > 0)
        above = torch.minimum(sde.time((1 + self.gamma) * v), torch.ones_like(t))
        above = torch.where(within, torch.maximum(above, t), t)
        a, b = (expand(value, x) for value in sde.transition(t, above))
        x = a * x + self.inflate * b * noise(x)
        return _heun(prior, x, above, s), memory


def churn(amount: float, steps: int) -> float:
    """Their gamma_i = min(S_churn / N, sqrt(2) - 1) for ``steps`` = N."""
    return min(amount / steps, math.sqrt(2) - 1)


def _heun(prior: Prior, x: State, t: Times, s: Times) -> Tensor:
    sde = prior.sde
    alpha_t, alpha_s = expand(sde.alpha(t), x), expand(sde.alpha(s), x)
    v, w = expand(sde.ratio(t), x), expand(sde.ratio(s), x)
    u = x / alpha_t
    slope = (u - prior.denoise(x, t)) / v
    ahead = u + (w - v) * slope
    end = (ahead - prior.denoise(alpha_s * ahead, s)) / w
    return alpha_s * (u + (w - v) * 0.5 * (slope + end))

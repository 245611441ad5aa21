r"""Heun's method in EDM coordinates, deterministic and with churn (Karras et al. 2022, Alg. 1, 2).

With :math:`u = x/\alpha` and :math:`v = \sigma/\alpha` the probability flow of every SDE is

.. math:: \frac{du}{dv} = \frac{u - D}{v}.

Best on the ``karras`` grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, final

import torch
from annotated_types import Ge, Le
from torch import Tensor

from medscore.parameters import NonNegative, Positive
from medscore.priors.base import Prior
from medscore.samplers.base import Memory, Sampler
from medscore.sdes.base import SDE, expand
from medscore.types import State, Times
from medscore.white_noise import Noise

LARGEST_GAMMA = math.sqrt(2) - 1
"""The largest relative increase of the noise in one step."""


@final
@dataclass(frozen=True)
class Heun(Sampler):
    """Deterministic, second order; two evaluations per step."""

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        return _heun(prior, x, t, s), memory


@final
@dataclass(frozen=True)
class EDMStochastic(Sampler):
    """Raise the noise by a factor 1 + gamma, then one Heun step from there; two evaluations.

    The noise is never raised beyond the largest noise of the SDE.

    Args:
        gamma: relative increase of the noise at each step; by default from ``amount``.
        low: smallest noise-to-signal ratio at which noise is added, S_min.
        high: largest noise-to-signal ratio at which noise is added, S_max.
        inflate: standard deviation of the noise that is added, S_noise.
        amount: S_churn, the total churn, which gives gamma = min(S_churn / N, sqrt(2) - 1) on a
            grid of N steps.
    """

    gamma: Annotated[float, Ge(0), Le(LARGEST_GAMMA)] | None = None
    low: NonNegative = 0.0
    high: Annotated[float, Ge(0)] = math.inf
    inflate: Positive = 1.0
    amount: NonNegative = 40.0

    def prepared(self, sde: SDE, times: Tensor) -> Sampler:
        if self.gamma is not None:
            return self
        return replace(self, gamma=churn(self.amount, len(times) - 1))

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        if self.gamma is None:
            raise ValueError("`gamma` is not set: give it, or call `prepared` with the time grid")
        sde = prior.sde
        v = sde.ratio(t)
        within = (v >= self.low) & (v <= self.high) & (self.gamma > 0)
        above = torch.minimum(sde.time((1 + self.gamma) * v), torch.ones_like(t))
        above = torch.where(within, torch.maximum(above, t), t)
        a, b = (expand(value, x) for value in sde.transition(t, above))
        x = a * x + self.inflate * b * noise(x)
        return _heun(prior, x, above, s), memory


def churn(amount: float, steps: int) -> float:
    """gamma_i = min(S_churn / N, sqrt(2) - 1) (Karras et al. 2022, Alg. 2).

    Args:
        amount: S_churn.
        steps: number of steps N of the grid.
    """
    return min(amount / steps, LARGEST_GAMMA)


def _heun(prior: Prior, x: State, t: Times, s: Times) -> Tensor:
    sde = prior.sde
    alpha_t, alpha_s = expand(sde.alpha(t), x), expand(sde.alpha(s), x)
    v, w = expand(sde.ratio(t), x), expand(sde.ratio(s), x)
    u = x / alpha_t
    slope = (u - prior.denoise(x, t)) / v
    ahead = u + (w - v) * slope
    end = (ahead - prior.denoise(alpha_s * ahead, s)) / w
    return alpha_s * (u + (w - v) * 0.5 * (slope + end))

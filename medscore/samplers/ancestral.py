r"""Ancestral sampling (Song et al. 2022, Eq. 7.4 for VP and Eq. B.33 for VE).

With the forward step :math:`x_t = a x_s + b z`, Tweedie's formula gives the mean of x_s given x_t

.. math:: E[x_s | x_t] = (x_t + b^2 \nabla \log p_t(x_t)) / a

for every SDE. The two rules differ in the noise they add: Eq. 7.4 that of the forward step, b,
which on VP is right for data of unit variance; Eq. B.33 that of :math:`q(x_s | x_t, x_0)`,
:math:`b \sigma_s / \sigma_t`, right for a single data point. On VE the first is reverse diffusion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from medscore.priors.base import Prior
from medscore.samplers.base import Memory, Sampler
from medscore.sdes.base import expand
from medscore.types import State, Times
from medscore.white_noise import Noise


@final
@dataclass(frozen=True)
class AncestralVP(Sampler):
    """Eq. 7.4. First order; one evaluation a step."""

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        a, b = prior.sde.transition(s, t)
        return _mean(prior, x, t, a, b) + expand(b, x) * noise(x), memory


@final
@dataclass(frozen=True)
class AncestralVE(Sampler):
    """Eq. B.33. First order; one evaluation a step."""

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        a, b = prior.sde.transition(s, t)
        std = b * prior.sde.sigma(s) / prior.sde.sigma(t)
        return _mean(prior, x, t, a, b) + expand(std, x) * noise(x), memory


def _mean(prior: Prior, x: State, t: Times, a: Tensor, b: Tensor) -> Tensor:
    return (x + expand(b**2, x) * prior.score(x, t)) / expand(a, x)

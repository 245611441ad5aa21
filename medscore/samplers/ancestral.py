r"""Ancestral sampling (Song 2022, Eq. 7.4 for the VP SDE and Eq. B.33 for the VE SDE).

With the forward step :math:`x_t = a x_s + b z`, Tweedie's formula gives the mean of x_s given x_t

.. math:: E[x_s | x_t] = (x_t + b^2 \nabla \log p_t(x_t)) / a

for every SDE. The two rules differ in the standard deviation of the noise that they add. Eq. 7.4
uses b of the forward step, which on VP is correct for data of unit variance. Eq. B.33 uses
:math:`b \sigma_s / \sigma_t` of :math:`q(x_s | x_t, x_0)`, which is correct for a single data
point. On VE the first rule equals reverse diffusion.
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
    """Ancestral sampling by Eq. 7.4; first order, one evaluation per step."""

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        a, b = prior.sde.transition(s, t)
        return _mean(prior, x, t, a, b) + expand(b, x) * noise(x), memory


@final
@dataclass(frozen=True)
class AncestralVE(Sampler):
    """Ancestral sampling by Eq. B.33; first order, one evaluation per step."""

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        a, b = prior.sde.transition(s, t)
        std = b * prior.sde.sigma(s) / prior.sde.sigma(t)
        return _mean(prior, x, t, a, b) + expand(std, x) * noise(x), memory


def _mean(prior: Prior, x: State, t: Times, a: Tensor, b: Tensor) -> Tensor:
    return (x + expand(b**2, x) * prior.score(x, t)) / expand(a, x)

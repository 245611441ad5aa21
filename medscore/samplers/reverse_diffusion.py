r"""The reverse diffusion predictor (Song 2022, Eq. B.32; lines 3-5 of Alg. B.4 and B.5).

The forward step from s to t is :math:`x_t = a x_s + b z`. The same discretisation of the reverse
SDE is

.. math:: x_s = (2 - a) x_t + b^2 \nabla \log p_t(x_t) + b z.

On VE a = 1 and b^2 = sigma_t^2 - sigma_s^2; on VP a^2 = 1 - b^2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from medscore.priors.base import Prior
from medscore.samplers.base import Memory, Sampler
from medscore.sdes.base import expand
from medscore.types import State, Times
from medscore.white_noise import Noise


@final
@dataclass(frozen=True)
class ReverseDiffusion(Sampler):
    """Reverse diffusion; first order, one evaluation per step."""

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        a, b = (expand(value, x) for value in prior.sde.transition(s, t))
        return (2 - a) * x + b**2 * prior.score(x, t) + b * noise(x), memory

r"""Probability flow sampling with a fixed discretisation (Song 2022, Eq. B.29 and B.30).

The ODE :math:`dx = [f x - \tfrac12 g^2 \nabla \log p_t(x)] dt` has the same marginals as the SDE
(Eq. B.28). Discretised in the same way as the forward step :math:`x_t = a x_s + b z`, it becomes

.. math:: x_s = (2 - a) x_t + \tfrac12 b^2 \nabla \log p_t(x_t).
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
class ProbabilityFlow(Sampler):
    """Probability flow; deterministic, first order, one evaluation per step."""

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        a, b = (expand(value, x) for value in prior.sde.transition(s, t))
        return (2 - a) * x + 0.5 * b**2 * prior.score(x, t), memory

r"""The exponential integrator of the reverse SDE (Chen et al. 2023; Zhang and Chen 2023).

The score is held constant over the step, and the resulting linear SDE is solved exactly:

.. math:: x_s = \frac{x_t}{a} + \left[\int_s^t g(\tau)^2 \frac{\alpha(s)}{\alpha(\tau)} d\tau\right]
                \nabla \log p_t(x_t) + \frac{b}{a} z,

where :math:`x_t = a x_s + b z` is the forward step. For the Ornstein-Uhlenbeck process and step
size h this is :math:`e^h x + 2 (e^h - 1) \nabla\log p + \sqrt{e^{2h} - 1}\, z`.
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
class ExponentialIntegrator(Sampler):
    """Exponential integrator; first order, one evaluation per step."""

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        a, b = (expand(value, x) for value in prior.sde.transition(s, t))
        gain = expand(prior.sde.score_gain(s, t), x)
        return x / a + gain * prior.score(x, t) + b / a * noise(x), memory

r"""The Euler-Maruyama discretisation of the reverse SDE (Song 2022, Alg. 8.1).

.. math:: x_s = x_t - f(t) x_t \Delta t + g(t)^2 \nabla \log p_t(x_t) \Delta t
                + g(t) \sqrt{\Delta t}\, z, \qquad \Delta t = t - s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from medscore.priors.base import Prior
from medscore.samplers.base import Memory, Sampler
from medscore.sdes.base import expand
from medscore.types import State, Times
from medscore.white_noise import Noise


@final
@dataclass(frozen=True)
class EulerMaruyama(Sampler):
    """Euler-Maruyama; first order, one evaluation per step."""

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        dt = expand(t - s, x)
        f, g = expand(prior.sde.drift(t), x), expand(prior.sde.diffusion(t), x)
        drift = f * x - g**2 * prior.score(x, t)
        return x - drift * dt + g * torch.sqrt(dt) * noise(x), memory

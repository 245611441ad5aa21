r"""Denoising diffusion implicit models (Song, Meng and Ermon 2021, Eq. 12 and 16).

.. math:: x_s = \alpha_s D + \sqrt{\sigma_s^2 - v}\, \frac{x_t - \alpha_t D}{\sigma_t}
                + \sqrt v\, z,
          \qquad v = \eta^2 b^2 \sigma_s^2 / \sigma_t^2,

with D the denoised image and b the noise of the forward step from s to t. eta = 1 is ancestral
sampling by Eq. B.33 of Song et al. 2022; eta = 0 is deterministic, and DPM-Solver-1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from medscore.parameters import Share
from medscore.priors.base import Prior
from medscore.samplers.base import Memory, Sampler
from medscore.sdes.base import expand
from medscore.types import State, Times
from medscore.white_noise import Noise


@final
@dataclass(frozen=True)
class DDIM(Sampler):
    """First order; one evaluation per step.

    Args:
        eta: scale of the noise; 0 is deterministic, 1 is ancestral sampling.
    """

    eta: Share = 0.0

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        x, std, _, _ = implicit_mean(prior, x, t, s, self.eta)
        return (x + expand(std, x) * noise(x) if self.eta else x), memory


def implicit_mean(
    prior: Prior, x: State, t: Times, s: Times, eta: float
) -> tuple[State, Times, Times, State]:
    r"""The mean of x_s; sqrt v; sqrt(sigma_s^2 - v); and the noise (x_t - alpha_t D) / sigma_t.

    Args:
        prior: the score model.
        x: the state at time t, (batch, channel, ...).
        t: current times, (batch,).
        s: times to go to, (batch,).
        eta: scale of the noise, in [0, 1].
    """
    sde = prior.sde
    _, b = sde.transition(s, t)
    sigma_t, sigma_s = sde.sigma(t), sde.sigma(s)
    std = eta * b * sigma_s / sigma_t
    rest = torch.sqrt((sigma_s**2 - std**2).clamp_min(0))
    denoised = prior.denoise(x, t)
    direction = (x - expand(sde.alpha(t), x) * denoised) / expand(sigma_t, x)
    mean = expand(sde.alpha(s), x) * denoised + expand(rest, x) * direction
    return mean, std, rest, direction

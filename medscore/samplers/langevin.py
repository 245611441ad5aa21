r"""Langevin dynamics at one noise level (Song et al. 2022, Eq. 7.2), and as a corrector.

.. math:: x \leftarrow x + \epsilon G + \sqrt{2\epsilon} z, \qquad G = \nabla \log p_s(x).

The corrector's step size is that of Alg. B.6 and B.7,

.. math:: \epsilon = 2 \alpha_i (r \|z\| / \|G\|)^2,

where :math:`\alpha_i = 1 - \beta_i` of a ladder of N scales, so 1 on VE. As the text advises for
small batches, :math:`\sqrt d` stands for the norm of z and the norm of G is each sample's own, so
no sample depends on its neighbours; ``batch_ratio`` is the text's average over a large batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from medscore.parameters import Count, Positive
from medscore.priors.base import Prior
from medscore.samplers.base import Memory, Sampler
from medscore.sdes.base import SDE, expand
from medscore.types import State, Times
from medscore.white_noise import Noise

SCALES = 1000
"""N of a corrector that was not prepared for a grid; Song et al.'s number."""

NormRatio = Callable[[State, State], Times]
"""Gives ||z|| / ||G|| for each sample from the draws z and the scores G."""


def own_ratio(z: State, score: State) -> Times:
    """sqrt(d) over the norm of each sample's own score."""
    norm: Tensor = score.flatten(1).norm(dim=1).clamp_min(1e-12)
    return math.sqrt(z[0].numel()) / norm


def batch_ratio(z: State, score: State) -> Times:
    """The mean norm of the draws over the mean norm of the scores: depends on the batch."""
    draws, scores = (v.flatten(1).norm(dim=1).mean() for v in (z, score))
    ratio: Tensor = draws / scores.clamp_min(1e-12)
    return ratio.expand(len(z))


@final
@dataclass(frozen=True)
class Langevin(Sampler):
    """Langevin dynamics at the noise level of the time it steps to; one evaluation per step.

    Meant for a grid of one repeated time.

    Args:
        epsilon: step size.
    """

    epsilon: Positive

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        epsilon = expand(torch.full_like(s, self.epsilon), x)
        return langevin_update(x, prior.score(x, s), epsilon, noise(x)), memory


@final
@dataclass(frozen=True)
class LangevinCorrector(Sampler):
    """The corrector of predictor-corrector sampling; one evaluation per step.

    Args:
        snr: signal-to-noise ratio r of the step, written eta in B.6.4.
        scales: number of noise scales N that sets alpha_i on SDEs with a drift; by default the
            number of steps of the grid.
        ratio: how ||z|| / ||G|| is computed.
    """

    snr: Positive = 0.16
    scales: Count | None = None
    ratio: NormRatio = own_ratio

    def prepared(self, sde: SDE, times: Tensor) -> Sampler:
        return self if self.scales is not None else replace(self, scales=len(times) - 1)

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        score, z = prior.score(x, s), noise(x)
        # x_i = sqrt(1 - beta_i) x_{i-1} + ..., over 1/N of time: 1 - beta_i = exp(2 f / N)
        alpha = torch.exp(2 * prior.sde.drift(s) / (self.scales or SCALES))
        epsilon = 2 * alpha * (self.snr * self.ratio(z, score)) ** 2
        return langevin_update(x, score, expand(epsilon, x), z), memory


def langevin_update(x: State, score: State, epsilon: Tensor, z: State) -> Tensor:
    """Eq. 7.2; ``epsilon`` has the axes to multiply ``x``."""
    return x + epsilon * score + torch.sqrt(2 * epsilon) * z

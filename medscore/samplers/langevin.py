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
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from medscore.priors.base import Prior
from medscore.samplers.base import Memory, Sampler
from medscore.sdes.base import expand
from medscore.types import State, Times
from medscore.white_noise import Noise

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
    """Langevin dynamics at the noise level of the time it steps to, with a fixed step ``epsilon``.

    One evaluation a step; meant for a grid of one repeated time.

    Raises:
        ValueError: ``epsilon`` is not above 0.
    """

    epsilon: float

    def __post_init__(self) -> None:
        if not 0 < self.epsilon < math.inf:
            raise ValueError(f"epsilon must be above 0, got {self.epsilon}")

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        epsilon = expand(torch.full_like(s, self.epsilon), x)
        return langevin_update(x, prior.score(x, s), epsilon, noise(x)), memory


@final
@dataclass(frozen=True)
class LangevinCorrector(Sampler):
    """One evaluation a step.

    Args:
        snr: r, written eta in B.6.4.
        scales: N, on which alpha_i rests for SDEs with a drift.
        ratio: how ||z|| / ||G|| is taken.

    Raises:
        ValueError: ``snr`` is not above 0, or ``scales`` below 1.
    """

    snr: float = 0.16
    scales: int = 1000
    ratio: NormRatio = own_ratio

    def __post_init__(self) -> None:
        if not 0 < self.snr < math.inf or self.scales < 1:
            raise ValueError(f"snr > 0 and scales >= 1 are needed, got {self.snr}, {self.scales}")

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        score, z = prior.score(x, s), noise(x)
        # x_i = sqrt(1 - beta_i) x_{i-1} + ..., over 1/N of time: 1 - beta_i = exp(2 f / N)
        alpha = torch.exp(2 * prior.sde.drift(s) / self.scales)
        epsilon = 2 * alpha * (self.snr * self.ratio(z, score)) ** 2
        return langevin_update(x, score, expand(epsilon, x), z), memory


def langevin_update(x: State, score: State, epsilon: Tensor, z: State) -> Tensor:
    """Eq. 7.2; ``epsilon`` has the axes to multiply ``x``."""
    return x + epsilon * score + torch.sqrt(2 * epsilon) * z

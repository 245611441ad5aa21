r"""Priors trained on N discrete noise scales: SMLD and DDPM (Song et al. 2022, section 7.2).

SMLD's scales are VE's at equally spaced times, :class:`medscore.sdes.linear.VE` with eps = 0.
DDPM's are
:class:`medscore.sdes.ddpm.DDPM`. On either, the N scales are the times of the ``uniform`` grid of N
- 1 steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from medscore.priors.base import Prior
from medscore.priors.preconditioning import level_index
from medscore.sdes.base import SDE, expand
from medscore.types import State, Times

Interpolation = Callable[[Tensor, float], Tensor]
"""From the index among M scales, and N/M, to the network's index among its N."""


def linear(index: Tensor, ratio: float) -> Tensor:
    """s'(x, i) = s(x, i/2) for twice as many scales (B.5.7)."""
    return index * ratio


def rounding(index: Tensor, ratio: float) -> Tensor:
    """s'(x, i) = s(x, floor(i/2)) for twice as many scales (B.5.7)."""
    return torch.floor(index * ratio + 1e-6)


@final
class DiscretePrior(Prior):
    """A score network that knows its noise scale by number.

    Args:
        score: s(x, i) with i (batch,) from 0 (least noise) to ``trained`` - 1.
        sde: the M scales to sample on. To sample DDPM on more scales than it was trained on, give
            ``DDPM`` that many and its betas as they are: they are per unit of time.
        trained: N, the network's number of scales.
        scales: M; the same as N unless interpolated.
        interpolation: :func:`linear` or :func:`rounding`.
    """

    def __init__(
        self,
        score: Callable[[Tensor, Tensor], Tensor],
        sde: SDE,
        *,
        trained: int,
        scales: int | None = None,
        interpolation: Interpolation = linear,
    ) -> None:
        self.network, self.sde, self.trained = score, sde, trained
        self.scales, self.interpolation = scales or trained, interpolation

    def index(self, t: Times) -> Tensor:
        """The network's index of a time; exact integers at the scales themselves."""
        i = level_index(self.sde, t, self.scales)
        index = self.interpolation(i, self.trained / self.scales)
        return index.clamp_max(self.trained - 1).to(t.dtype)

    def score(self, x: State, t: Times) -> State:
        return self.network(x, self.index(t))

    def denoise(self, x: State, t: Times) -> State:
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        return (x + sigma**2 * self.score(x, t)) / alpha


def score_of_noise(
    network: Callable[[Tensor, Tensor], Tensor], sde: SDE, trained: int
) -> Callable[[Tensor, Tensor], Tensor]:
    """The score of a network that predicts the noise, as DDPM's do: s = -eps / sigma_i.

    Args:
        network: eps(x, i). sde, trained: what it was trained on, N = ``trained`` scales, also
            where it is to be sampled on more.
    """

    def score(x: Tensor, index: Tensor) -> Tensor:
        t = sde.eps + (1 - sde.eps) * index / (trained - 1)
        return -network(x, index) / expand(sde.sigma(t), x)

    return score

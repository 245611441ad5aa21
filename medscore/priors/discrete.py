r"""Priors trained on N discrete noise scales: SMLD and DDPM (Song 2022, section 7.2).

The noise scales of SMLD are those of :class:`medscore.sdes.linear.VE` with eps = 0 at equally
spaced times; those of DDPM belong to :class:`medscore.sdes.ddpm.DDPM`. In both cases the N scales
are the times of the ``uniform`` grid with N - 1 steps.
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
"""Maps an index among M sampling scales to an index among N trained ones, given N/M."""


def linear(index: Tensor, ratio: float) -> Tensor:
    """Linear interpolation, s'(x, i) = s(x, i/2) for twice as many scales (B.5.7).

    Args:
        index: indices among the M sampling scales, (batch,).
        ratio: N/M.
    """
    return index * ratio


def rounding(index: Tensor, ratio: float) -> Tensor:
    """Rounding interpolation, s'(x, i) = s(x, floor(i/2)) for twice as many scales (B.5.7).

    Args:
        index: indices among the M sampling scales, (batch,).
        ratio: N/M.
    """
    return torch.floor(index * ratio + 1e-6)


@final
class DiscretePrior(Prior):
    """A score network that is conditioned on the index of the noise scale.

    Args:
        score: score network s(x, i) with indices i (batch,) from 0 (least noise) to N - 1.
        sde: the SDE with the M sampling scales. To sample DDPM on more scales than it was trained
            on, pass a ``DDPM`` with M scales and unchanged betas, which are per unit of time.
        trained: number of scales N that the network was trained on.
        scales: number of sampling scales M; by default N.
        interpolation: maps sampling indices to trained ones, :func:`linear` or :func:`rounding`.
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
        """The network's scale index at given times; an exact integer at each noise scale.

        Args:
            t: times, (batch,).
        """
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
    """The score function of a network that predicts the noise, as in DDPM: s = -eps / sigma_i.

    Args:
        network: noise-prediction network eps(x, i).
        sde: the SDE that the network was trained on, also if it is sampled on more scales.
        trained: number of scales N that the network was trained on.
    """

    def score(x: Tensor, index: Tensor) -> Tensor:
        t = sde.eps + (1 - sde.eps) * index / (trained - 1)
        return -network(x, index) / expand(sde.sigma(t), x)

    return score

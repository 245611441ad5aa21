r"""Importance sampling of times, fitted to a prior's loss.

Eq. 9.12 draws times uniformly in :math:`v = \log(\sigma/\alpha)`, scaled to [0, 1], which is
optimal if the loss :math:`\sigma^2 E \| s_\theta + z/\sigma \|^2` is the same at all times. For a
network it is not. Here the loss is measured in bins of v on a few images, and v is drawn from

.. math:: q(v) \propto \sqrt{E[\text{loss}^2]}, \qquad
          E_v[h] = E_{v \sim q}\left[\frac{h(v)}{q(v)}\right],

the density that minimises the variance of the estimate, which is unbiased for any q.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medscore.objectives.denoising import (
    Denoising,
    ImportanceTimes,
    importance_weighting,
    log_ratios,
)
from medscore.priors.base import Prior
from medscore.sdes.base import SDE
from medscore.types import State, Times
from medscore.white_noise import Noise

UNIFORM = ImportanceTimes()
"""Times with uniform v."""

FLOOR = 0.05
"""Lower bound of q, which limits the weight of every time."""


@dataclass(frozen=True)
class Proposal:
    """A density q on [0, 1] that is constant in bins of equal width.

    Attributes:
        heights: q in each bin; their mean is 1.
    """

    heights: tuple[float, ...]

    def times(self, sde: SDE, u: Tensor) -> Tensor:
        """Times distributed according to q, by inversion of its distribution function.

        Args:
            sde: the SDE.
            u: uniform in [0, 1), (batch,).
        """
        q = torch.tensor(self.heights, dtype=torch.float64)
        cdf = torch.cat([q.new_zeros(1), q.cumsum(0) / len(q)])
        level = u.double().cpu()
        bins = (torch.searchsorted(cdf, level, right=True) - 1).clamp(0, len(q) - 1)
        v = (bins + (level - cdf[bins]) * len(q) / q[bins]) / len(q)
        return UNIFORM(sde, v.clamp(0, 1).to(u))

    def weighting(self, sde: SDE, t: Times) -> Tensor:
        """The weighting of Eq. 9.12 divided by q.

        Args:
            sde: the SDE.
            t: times (batch,).
        """
        low, high = log_ratios(sde)
        v = (torch.log(sde.ratio(t.double())) - low) / (high - low)
        bins = (v * len(self.heights)).long().clamp(0, len(self.heights) - 1)
        q = torch.tensor(self.heights, dtype=t.dtype, device=t.device)
        return importance_weighting(sde, t) / q[bins]

    @property
    def objective(self) -> Denoising:
        """The objective for :func:`medscore.likelihood.bound.denoising_bound` and other bounds."""
        return Denoising(self.times, self.weighting)


def fit_proposal(
    prior: Prior, x: State, seeds: Sequence[int], *, bins: int = 32, draws: int = 1
) -> Proposal:
    """Fit a proposal to a prior's loss on images like ``x``.

    Args:
        prior: the prior.
        x: a few images (batch, ...) in the prior's range.
        seeds: one seed per image, which must differ from the seeds of the bounds.
        bins: number of bins of q.
        draws: draws of the noise for each bin and image.
    """
    plain, noise = Denoising(UNIFORM, importance_weighting), Noise(seeds)
    squares = torch.zeros(bins, dtype=torch.float64)
    with torch.no_grad():
        for number in range(bins):
            for _ in range(draws):
                u = (number + noise.uniform(x)) / bins
                loss = plain(prior, x, u, noise(x))
                squares[number] += float(loss.double().square().mean())
    heights = squares.sqrt() / squares.sqrt().mean()
    heights = FLOOR + (1 - FLOOR) * heights
    return Proposal(tuple(heights.tolist()))

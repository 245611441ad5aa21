r"""Times drawn where a prior's loss is large: a second step of importance sampling.

Eq. 9.12 draws times uniformly in :math:`v = \log(\sigma/\alpha)`, scaled to [0, 1], which is best
if the loss :math:`\sigma^2 E \| s_\theta + z/\sigma \|^2` is the same at all times. A network's is
not. Here it is measured in bins of v on a few images, and v is drawn with the density

.. math:: q(v) \propto \sqrt{E[\text{loss}^2]}, \qquad
          E_v[h] = E_{v \sim q}\left[\frac{h(v)}{q(v)}\right],

which makes the variance of the estimate least. The estimate stays unbiased whatever q is.
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
FLOOR = 0.05
"""q is at least this everywhere, so that no time's weight is large."""


@dataclass(frozen=True)
class Proposal:
    """A density on [0, 1], constant in bins of equal width.

    Attributes:
        heights: of q in each bin; their mean is 1.
    """

    heights: tuple[float, ...]

    def times(self, sde: SDE, u: Tensor) -> Tensor:
        """Times of uniform draws u."""
        q = torch.tensor(self.heights, dtype=torch.float64)
        cdf = torch.cat([q.new_zeros(1), q.cumsum(0) / len(q)])
        wanted = u.double().cpu()
        bins = (torch.searchsorted(cdf, wanted, right=True) - 1).clamp(0, len(q) - 1)
        v = (bins + (wanted - cdf[bins]) * len(q) / q[bins]) / len(q)
        return UNIFORM(sde, v.clamp(0, 1).to(u))

    def weighting(self, sde: SDE, t: Times) -> Tensor:
        """Eq. 9.12's weighting over q."""
        low, high = log_ratios(sde)
        v = (torch.log(sde.ratio(t.double())) - low) / (high - low)
        bins = (v * len(self.heights)).long().clamp(0, len(self.heights) - 1)
        q = torch.tensor(self.heights, dtype=t.dtype, device=t.device)
        return importance_weighting(sde, t) / q[bins]

    @property
    def objective(self) -> Denoising:
        """For :func:`medscore.likelihood.bound.denoising_bound` and the other bounds."""
        return Denoising(self.times, self.weighting)


def fit_proposal(
    prior: Prior, x: State, seeds: Sequence[int], *, bins: int = 32, draws: int = 1
) -> Proposal:
    """The proposal for images like ``x``.

    Args:
        x: a few images in the prior's range. seeds: one per image, of the pilot's draws, apart
            from those of the bounds. draws: for each bin and image.
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

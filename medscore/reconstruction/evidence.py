"""What the data and what the prior decide of a reconstruction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medscore.priors.base import Prior
from medscore.samplers.dpm_solver import DPMSolver2
from medscore.types import Images
from medscore.uncertainty.influence import RATIO, influence
from medscore.uncertainty.null_space import NullSpace
from medscore.white_noise import Noise


@dataclass(frozen=True)
class Evidence:
    """What the data and what the prior decide.

    Attributes:
        prior_samples: (slices, samples, H, W) samples of the prior about the reconstruction, in its
            unit.
        outside: of each slice, the share of the energy of its structure that the data do not
            determine.
        disagreement: of each slice, the share of that part on which samples disagree.
        agreed: (slices, H, W) the mean of that part over the samples, in the unit of the
            reconstruction: what the prior has put there. It is the modulus of complex images.
        disputed: (slices, H, W) its standard deviation, where samples disagree on it.
    """

    prior_samples: NDArray[np.float32]
    outside: tuple[float, ...]
    disagreement: tuple[float, ...]
    agreed: NDArray[np.float32]
    disputed: NDArray[np.float32]

    @staticmethod
    def of(
        prior_samples: NDArray[np.float32], found: Sequence[NullSpace], units: Sequence[float]
    ) -> Evidence:
        """The evidence from the null space of every slice.

        Args:
            prior_samples: see the attribute.
            found: the part of each slice that the data do not determine, in the prior's range.
            units: length of the prior's range for each slice, in the unit of the reconstruction.
        """
        maps = zip(found, units, strict=True)
        agreed, disputed = zip(
            *((unit * _single(n.common), unit * _single(n.own)) for n, unit in maps), strict=True
        )
        return Evidence(
            prior_samples,
            tuple(each.outside for each in found),
            tuple(each.disagreement for each in found),
            np.stack(agreed).astype(np.float32),
            np.stack(disputed).astype(np.float32),
        )

    def influence(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The influence of the data on each pixel (slices, H, W), from 0 to 1.

        Args:
            samples: (slices, samples, H, W) posterior samples.
        """
        return influence(samples, self.prior_samples)

    def means(self) -> tuple[float, float]:
        """Over the slices, the mean shares outside the data, and of it that samples disagree on."""
        return float(np.mean(self.outside)), float(np.mean(self.disagreement))

    @property
    def words(self) -> str:
        """The shares in one line."""
        outside, disagreement = self.means()
        return (
            f"structure that the data do not determine: {100 * outside:.3g} %, and the samples "
            f"disagree on {100 * disagreement:.3g} % of it"
        )

    def record(self) -> dict[str, Any]:
        """The shares for provenance.json."""
        outside, disagreement = self.means()
        return {
            "undetermined": round(outside, 4), "disagreement": round(disagreement, 4),
            "slices": [
                [round(a, 4), round(b, 4)]
                for a, b in zip(self.outside, self.disagreement, strict=True)
            ],
        }  # fmt: skip


def _single(x: Tensor) -> NDArray[np.float32]:
    """An image (channel, H, W) as (H, W): the modulus of two channels."""
    image = x[0] if len(x) == 1 else torch.linalg.vector_norm(x, dim=0)
    found: NDArray[np.float32] = image.float().cpu().numpy()
    return found


@torch.no_grad()
def prior_samples(
    prior: Prior, image: Tensor, times: Tensor, seeds: Sequence[int], ratio: float = RATIO
) -> Images:
    """Samples of the prior about an image: noise is added, and the probability flow takes it away.

    Args:
        prior: the prior.
        image: (1, channel, H, W) in the prior's range.
        times: decreasing time grid; of the times with less noise than ``ratio``, every second one
            is used, by steps of second order with two evaluations each.
        seeds: seed of the noise of each sample.
        ratio: standard deviation of the noise.

    Returns:
        (len(seeds), channel, H, W) in the prior's range.
    """
    times, count, sampler = times.to(image.device), len(seeds), DPMSolver2()
    start = prior.sde.time(torch.full((1,), ratio, device=image.device)).to(times)
    after = times[times < start].flip(0)[::2].flip(0)
    grid, noise = torch.cat([start, after]), Noise(seeds)
    clean = image.expand(count, *image.shape[1:])
    x = prior.sde.marginal(clean, start.expand(count), noise(clean))
    for index in range(len(grid) - 1):
        t, s = (grid[i].expand(count) for i in (index, index + 1))
        x, _ = sampler.step(prior, x, t, s, noise, {})
    return prior.denoise(x, grid[-1].expand(count))

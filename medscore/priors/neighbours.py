r"""Denoised slices improved by their neighbours: the 2.5-D prior.

The rule applies the network of :mod:`medscore.nets.neighbours`, which was trained beside a prior,
to the slices that this prior has denoised one by one. The posterior mean of a slice given the noisy
slices around it has a smaller error than that given the slice alone, and sampling with it draws
slices that agree with each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.nets.neighbours import NeighboursDenoiser, mirrored
from medscore.parameters import NamedParameters
from medscore.priors.across import WHOLE, Denoised
from medscore.priors.base import Prior

AT_A_TIME = 2**20
"""Number of pixels that are improved at a time, which bounds the memory."""


@final
@dataclass(frozen=True)
class Neighbours(NamedParameters):
    """The 2.5-D prior of any volume; the network is that of the prior of its slices."""

    def placed(self, prior: Prior, voxel_mm: tuple[float, float]) -> NeighboursOfVolume:
        """The rule for volumes with voxels of one size.

        Args:
            prior: prior of the slices, with the network.
            voxel_mm: distance of the slices, and pixel size.

        Raises:
            MedscoreError: the prior has no such network.
        """
        network = getattr(prior, "neighbours", None)
        if not isinstance(network, NeighboursDenoiser):
            raise MedscoreError(
                "the prior has no 2.5-D network", hint="use another rule across slices"
            )
        return NeighboursOfVolume(network, *voxel_mm)


@final
@dataclass(frozen=True)
class NeighboursOfVolume:
    """The 2.5-D prior of volumes with voxels of one size.

    Attributes:
        network: the network.
        slice_mm: distance of the slices in mm.
        pixel_mm: pixel size in mm.
    """

    network: NeighboursDenoiser
    slice_mm: float
    pixel_mm: float

    evaluations_of_a_call: ClassVar[int] = 1

    @property
    def record(self) -> dict[str, str]:
        """The hash of the weights of the network, for provenance."""
        return {"neighbours_sha256": self.network.sha256}

    def couple(self, denoised: Denoised, part: slice = WHOLE) -> Tensor:
        """The slices D' of the improved volume; D at noise levels that the network does not know.

        Args:
            denoised: slices D that were denoised one by one, of one channel.
            part: the slices that are wanted.
        """
        smallest, largest = self.network.ratios
        if not smallest <= denoised.ratio <= largest:
            return denoised.slices[:, :, part]
        count = denoised.slices.shape[2]
        first, last, _ = part.indices(count)
        step = max(1, AT_A_TIME // denoised.slices[0, 0, 0].numel())
        found = [
            self._improved(denoised, b, start, min(start + step, last))
            for b in range(len(denoised.slices))
            for start in range(first, last, step)
        ]
        volumes: Tensor = torch.cat(found).unflatten(0, (len(denoised.slices), 1, -1))
        return volumes

    def _improved(self, denoised: Denoised, volume: int, first: int, last: int) -> Tensor:
        """Some slices of a volume, (slices, H, W)."""
        r = self.network.spec.reach
        near = mirrored(first - r, last + r, denoised.slices.shape[2])
        slices, noisy = denoised.slices[volume, 0, near], denoised.noisy[volume, 0, near]
        ratio = slices.new_tensor(denoised.ratio)
        noise = (noisy - slices) / ratio
        return self.network.improved(slices, noise, ratio, self.slice_mm, self.pixel_mm)

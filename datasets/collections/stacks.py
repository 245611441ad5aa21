"""Random stacks of neighbouring slices of CT volumes, for what is learned of whole volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from medscore.datasets.collections.native_slices import SQUARE, check_square
from medscore.datasets.collections.sources import find_images
from medscore.datasets.load import read_scan
from medscore.errors import MedscoreError

MAPS = 2
"""Maps behind the slices of a stack: distance of the slices, and pixel size, in mm."""

CANDIDATES = 3
"""Number of positions of which the stack with the largest standard deviation is taken, so that
fewer stacks are of air alone."""


@dataclass(frozen=True)
class Volume3D:
    """A volume in the range of the network.

    Attributes:
        slices: (slices, H, W) float16.
        slice_mm: distance of the slices in mm.
        pixel_mm: pixel size in mm.
        patient: the patient.
    """

    slices: Tensor
    slice_mm: float
    pixel_mm: float
    patient: str


def load_volumes(
    patterns: Sequence[str], root: Path, *, limits: tuple[float, float], least: int
) -> list[Volume3D]:
    """Load the CT volumes of the matching files, mapped from the limits to [0, 1] and clipped.

    Args:
        patterns: see :func:`medscore.datasets.collections.sources.find_images`.
        root: data folder.
        limits: HU that become 0 and 1.
        least: smallest number of slices of a volume.

    Raises:
        MedscoreError: no file matches, a file is unreadable, has pixels that are not square, or has
            fewer slices.
    """
    found, (low, high) = list[Volume3D](), limits
    for images in find_images(patterns, root):
        for volume in read_scan(images.files, modality="CT"):
            across, down, apart = volume.spacing
            check_square((down, across), images.files[0], SQUARE)
            if len(volume.values) < least:
                raise MedscoreError(
                    f"it has {len(volume.values)} slices, and stacks have {least}",
                    where=images.files[0], hint="leave it out, or set fewer `slices`",
                )  # fmt: skip
            values = (np.asarray(volume.values, np.float32) - low) / (high - low)
            slices = torch.from_numpy(values.clip(0, 1)).half()
            found.append(Volume3D(slices, apart, across, images.patient))
    return found


@dataclass(frozen=True)
class Stacks:
    """Stacks of neighbouring slices, cut out of volumes.

    Volumes of thin slices are drawn more often, in proportion to the reciprocal of the distance of
    their slices, because there neighbours tell most. Stacks are mirrored at random along all three
    axes, and half of those whose pixels may be twice as large are made of means of 2 x 2 pixels.

    Attributes:
        volumes: the volumes.
        slices: number of slices of a stack.
        size: rows and columns of a stack; a smaller volume is continued by air.
        pixel_mm: largest pixel size in mm.
    """

    volumes: Sequence[Volume3D]
    slices: int
    size: int
    pixel_mm: float

    def batch(self, count: int, generator: torch.Generator, part: slice) -> Tensor:
        """Draw a part of a batch.

        Args:
            count: number of stacks in the whole batch.
            generator: source of the random numbers, drawn for the whole batch.
            part: stacks of the batch to make.

        Returns:
            (part, slices + 2, size, size) float32: the slices, the distance of the slices in mm and
            the pixel size in mm, the same number at all pixels.
        """
        u = torch.rand(count, 6 + 2 * CANDIDATES, generator=generator)
        return torch.stack([self._stack(row) for row in u[part]])

    def _stack(self, u: Tensor) -> Tensor:
        weights = torch.tensor([1 / v.slice_mm for v in self.volumes]).double().cumsum(0)
        number = int(torch.searchsorted(weights, float(u[0]) * float(weights[-1]), right=True))
        volume = self.volumes[min(number, len(self.volumes) - 1)]
        first = int(float(u[1]) * (len(volume.slices) - self.slices + 1))
        slices = volume.slices[first : first + self.slices].float()
        axes = [axis for axis in range(3) if float(u[2 + axis]) < 0.5]
        pixel, slices = volume.pixel_mm, slices.flip(axes)
        if 2 * pixel <= self.pixel_mm and float(u[5]) < 0.5:
            pixel, slices = 2 * pixel, functional.avg_pool2d(slices, 2)
        missing = [max(0, self.size - n) for n in slices.shape[-2:]]
        slices = functional.pad(slices, (0, missing[1], 0, missing[0]))
        places = u[6:].reshape(CANDIDATES, 2)
        stack = max((self._crop(slices, place) for place in places), key=lambda x: float(x.std()))
        maps = stack.new_tensor([volume.slice_mm, pixel])[:, None, None]
        return torch.cat([stack, maps.expand(MAPS, *stack.shape[1:])])

    def _crop(self, slices: Tensor, place: Tensor) -> Tensor:
        rows, columns = slices.shape[-2:]
        top = int(float(place[0]) * (rows - self.size + 1))
        left = int(float(place[1]) * (columns - self.size + 1))
        return slices[:, top : top + self.size, left : left + self.size]

"""Images in the range of a prior, with what outputs call them and the grid of each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from medscore.errors import MedscoreError


class ImageGrid(NamedTuple):
    """The grid of an image.

    Attributes:
        shape: rows and columns.
        pixel_mm: pixel size in mm; 1 for priors that do not need it.
    """

    shape: tuple[int, int]
    pixel_mm: float

    def __str__(self) -> str:
        return f"{self.shape[1]} x {self.shape[0]} pixels of {self.pixel_mm:.4g} mm"


@dataclass(frozen=True)
class ImageSet:
    """Images in a prior's range.

    Attributes:
        images: the images, each (channel, H, W).
        names: source file, without its folders, and position in it, for each image.
        patients: patient of each image; empty where unknown.
        labels: what outputs call each image: the start of its file's hash and its position in it.
        groups: what outputs call the patient of each image; empty where unknown.
        notes: what was done to fit the images to the prior's grid, one sentence each.
        pixel_mm: pixel size of each image in mm, for priors that need it.
    """

    images: tuple[Tensor, ...]
    names: tuple[str, ...]
    patients: tuple[str, ...]
    labels: tuple[str, ...]
    groups: tuple[str, ...]
    notes: tuple[str, ...] = ()
    pixel_mm: tuple[float, ...] = ()

    @property
    def x(self) -> Tensor:
        """The images as one tensor (n, channel, H, W).

        Raises:
            MedscoreError: they have different sizes.
        """
        shapes = sorted({tuple(image.shape[1:]) for image in self.images})
        if len(shapes) > 1:
            raise MedscoreError(
                f"the images have {shapes[0]} and {shapes[-1]} pixels",
                hint="give images of one matrix size",
            )
        return torch.stack(self.images)

    @property
    def grids(self) -> tuple[ImageGrid, ...]:
        """The grid of each image."""
        pixels = self.pixel_mm or (1.0,) * len(self.images)
        return tuple(
            ImageGrid((image.shape[1], image.shape[2]), round(pixel, 6))
            for image, pixel in zip(self.images, pixels, strict=True)
        )

    @property
    def digests(self) -> list[str]:
        """SHA-256 of the values of each image."""
        return [hashlib.sha256(image.numpy().tobytes()).hexdigest() for image in self.images]

    def select(self, chosen: Sequence[int]) -> ImageSet:
        """Some of the images.

        Args:
            chosen: their indices.
        """
        images = tuple(self.images[i] for i in chosen)
        pixels = tuple(self.pixel_mm[i] for i in chosen) if self.pixel_mm else ()
        names, patients, labels, groups = (
            tuple(each[i] for i in chosen)
            for each in (self.names, self.patients, self.labels, self.groups)
        )
        return ImageSet(images, names, patients, labels, groups, self.notes, pixels)

"""Augmentation of training slices: mirroring, rotation, zoom, translation, intensity scaling.

All random numbers of a batch are drawn first, from one generator, so that any part of the batch can
be made alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from monai.networks.layers.spatial_transforms import AffineTransform
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Motion:
    """Transformations of the images of a batch.

    Attributes:
        rows: (batch, 2, 3) affine maps from the coordinates of the result, -1 to 1, to those of the
            image.
        gain: (batch,) factors of the intensity.
    """

    rows: Tensor
    gain: Tensor

    def of(self, part: slice) -> Motion:
        """Transformations of a part of the batch.

        Args:
            part: images of the batch.
        """
        return Motion(self.rows[part], self.gain[part])

    def apply(self, images: Tensor, oversample: int) -> Tensor:
        """Transform images, then reduce them by block mean; zeros (air) enter from outside.

        The block mean is taken last, so that a rotated image has the texture of an unrotated one.

        Args:
            images: (batch, channel, H, W).
            oversample: side of the blocks in pixels.
        """
        warp = AffineTransform(
            normalized=True,
            mode="bilinear",
            padding_mode="zeros",
            align_corners=False,
            reverse_indexing=False,
        )
        turned: Tensor = warp(images, self.rows.to(images))
        reduced = functional.avg_pool2d(turned, oversample)
        return reduced * self.gain.to(images)[:, None, None, None]


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the transformations. Half of the images are rotated, magnified and translated.

    Attributes:
        mirror: mirror half of all images left to right.
        turn: largest rotation in radians.
        zoom: range of the magnification, log-uniform.
        shift: largest translation, as a share of half the side.
        gain: range of the intensity factor, log-uniform.

    Raises:
        ValueError: a range is not positive and increasing, or ``turn`` or ``shift`` is negative.
    """

    mirror: bool = True
    turn: float = 0.175
    zoom: tuple[float, float] = (1.0, 1.0)
    shift: float = 0.15
    gain: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        for name in ("zoom", "gain"):
            low, high = ends = getattr(self, name)
            if not 0 < low <= high < math.inf:
                raise ValueError(f"{name} {ends} must be positive and increasing")
        for name in ("turn", "shift"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more")

    def draw(self, batch: int, generator: torch.Generator) -> Motion:
        """Draw the transformations of a batch.

        Args:
            batch: number of images.
            generator: source of the random numbers.
        """
        flip, moved, size, angle, dx, dy = torch.rand(6, batch, generator=generator)
        brightness = torch.rand(batch, generator=generator)
        moves = moved < 0.5
        scale = torch.where(moves, 1 / _log_uniform(self.zoom, size), 1.0)
        angle = torch.where(moves, (2 * angle - 1) * self.turn, 0.0)
        dx, dy = (torch.where(moves, (2 * d - 1) * self.shift, 0.0) for d in (dx, dy))
        side = torch.where((flip < 0.5) | (not self.mirror), 1.0, -1.0)
        cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
        rows = torch.stack([cos * side, -sin, dx, sin * side, cos, dy], dim=1)
        return Motion(rows.view(batch, 2, 3), _log_uniform(self.gain, brightness))


def draw_batch(
    slices: Tensor,
    augmentation: Augmentation,
    generator: torch.Generator,
    *,
    batch: int,
    part: slice,
    oversample: int,
) -> Tensor:
    """Draw a part of a batch of augmented slices.

    Args:
        slices: (n, H, W) slices to draw from.
        augmentation: ranges of the transformations.
        generator: source of the random numbers, drawn for the whole batch.
        batch: number of images in the whole batch.
        part: images of the batch to make.
        oversample: factor by which the slices are larger than the images.

    Returns:
        (part, 1, H / oversample, W / oversample) float32.
    """
    index = torch.randint(len(slices), (batch,), generator=generator)
    motion = augmentation.draw(batch, generator)
    return motion.of(part).apply(slices[index[part]][:, None].float(), oversample)


def _log_uniform(ends: tuple[float, float], u: Tensor) -> Tensor:
    low, high = torch.log(torch.tensor(ends))
    return torch.exp(low + (high - low) * u)

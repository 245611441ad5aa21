"""Augmentation of training slices: mirrored, turned, magnified, shifted, scaled in intensity.

All draws of a batch come first, from one generator, so that any part of it can be made alone.
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
    """What happens to each image of a batch.

    Attributes:
        rows: (batch, 2, 3) affine maps from the result's coordinates to the image's, -1 to 1.
        gain: (batch,) factors.
    """

    rows: Tensor
    gain: Tensor

    def of(self, part: slice) -> Motion:
        """The motion of a part of the batch."""
        return Motion(self.rows[part], self.gain[part])

    def apply(self, images: Tensor, oversample: int) -> Tensor:
        """Images (batch, channel, H, W) moved and made smaller by ``oversample``; 0, air, comes in
        from outside. The block mean is taken last, so that a turned image has the texture of an
        unturned one.
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
    """Ranges to draw from. Half of the images are turned, magnified and shifted.

    Attributes:
        mirror: half of all images left to right. turn: largest angle in radians.
        zoom: range of the magnification. gain: range of the intensity's factor; both log-uniform.
        shift: largest, as a share of half the side.

    Raises:
        ValueError: a range that is not positive and increasing, or a negative reach, by name.
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
                raise ValueError(f"{name} is {getattr(self, name)}, 0 or more is needed")

    def draw(self, batch: int, generator: torch.Generator) -> Motion:
        """The motion of ``batch`` images."""
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
    """A part of a batch of augmented slices, (part, 1, H / oversample, W / oversample) float32.

    Args:
        slices: (n, H, W) to draw from.
        batch: images in the whole batch, for all of which the generator draws.
    """
    index = torch.randint(len(slices), (batch,), generator=generator)
    motion = augmentation.draw(batch, generator)
    return motion.of(part).apply(slices[index[part]][:, None].float(), oversample)


def _log_uniform(ends: tuple[float, float], u: Tensor) -> Tensor:
    low, high = torch.log(torch.tensor(ends))
    return torch.exp(low + (high - low) * u)

r"""Random crops of CT slices at random pixel sizes, made by area means.

An image at ``f`` times the pixel size of its source, f >= 1, is the mean of the source over each
new pixel's area: with w(i, j) the length of the overlap of the new pixel i and the source pixel j,
in units of the new pixel,

.. math:: y(i, k) = \sum_{j, l} w(i, j)\, w(k, l)\, x(j, l).

Images are never enlarged, because interpolated noise looks unlike measured noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class NativeSlice:
    """A slice at its own matrix and pixel size.

    Attributes:
        image: (H, W) float16 in the range of the network.
        pixel_mm: pixel size in mm.
    """

    image: Tensor
    pixel_mm: float


class CropDraws(NamedTuple):
    """The random numbers of one crop, each uniform in [0, 1).

    Attributes:
        source: chooses the group of slices.
        number: chooses the slice.
        pixel: chooses the pixel size.
        rows: position of the candidates from top to bottom, (candidates,).
        columns: position of the candidates from left to right, (candidates,).
        mirror: mirrors the slice left to right below 1/2.
        turn: number of quarter turns, divided by 4.
    """

    source: float
    number: float
    pixel: float
    rows: Tensor
    columns: Tensor
    mirror: float
    turn: float


@dataclass(frozen=True)
class Crops:
    """Crops of groups of slices, with their pixel sizes and positions as context maps.

    Attributes:
        groups: the slices, in groups.
        weights: share of each group among the crops.
        sizes: sides of the crops in pixels; each batch has one of them.
        unit_mm: distance from the centre of the slice, in mm, that has the coordinate 1.
        native: share of the crops that keep the pixel size of their source.
        pixel_mm: largest pixel size in mm.
        candidates: number of positions of which the crop with the largest standard deviation is
            taken, so that fewer crops are of air alone.
        quarter_turns: rotate slices by multiples of 90 degrees.
    """

    groups: Sequence[Sequence[NativeSlice]]
    weights: tuple[float, ...]
    sizes: tuple[int, ...]
    unit_mm: float
    native: float = 0.4
    pixel_mm: float = 3.0
    candidates: int = 2
    quarter_turns: bool = True

    def batch(self, count: int, generator: torch.Generator, part: slice) -> Tensor:
        """Draw a part of a batch.

        Args:
            count: number of crops in the whole batch.
            generator: source of the random numbers, drawn for the whole batch.
            part: crops of the batch to make.

        Returns:
            (part, 4, side, side) float32: the image, the logarithm of the pixel size in mm, and the
            coordinates of each pixel (right, down) relative to the centre of the slice, in units of
            ``unit_mm``.
        """
        side = self.sizes[int(torch.randint(len(self.sizes), (), generator=generator))]
        u = torch.rand(count, 5 + 2 * self.candidates, generator=generator)
        return torch.stack([self._crop(_draws(row), side) for row in u[part]])

    def _crop(self, u: CropDraws, side: int) -> Tensor:
        bounds = torch.tensor(self.weights, dtype=torch.float64).cumsum(0)
        group = int(torch.searchsorted(bounds, u.source * float(bounds[-1]), right=True))
        slices = self.groups[min(group, len(self.groups) - 1)]
        chosen = slices[int(u.number * len(slices))]
        image = chosen.image.flip(1) if u.mirror < 0.5 else chosen.image
        if self.quarter_turns:
            image = torch.rot90(image, int(4 * u.turn))
        chosen = NativeSlice(image, chosen.pixel_mm)
        most = max(1.0, self.pixel_mm / chosen.pixel_mm)
        share = max(0.0, (u.pixel - self.native) / (1 - self.native))
        factor = most**share
        crops = [
            scaled_crop(chosen, factor, side, (row, column), self.unit_mm)
            for row, column in zip(u.rows.tolist(), u.columns.tolist(), strict=True)
        ]
        return max(crops, key=lambda made: float(made[0].std()))


def scaled_crop(
    source: NativeSlice, factor: float, side: int, where: tuple[float, float], unit_mm: float
) -> Tensor:
    """A crop at ``factor`` times the source's pixel size, with its context maps.

    A crop that is larger than the slice shows all of it, with air around.

    Args:
        source: the slice.
        factor: ratio of the pixel sizes, 1 or more.
        side: side of the crop in pixels.
        where: position of the crop between the slice's top (0) and bottom (1), and between left (0)
            and right (1).
        unit_mm: distance from the centre of the slice, in mm, that has the coordinate 1.

    Returns:
        (4, side, side) float32, see :meth:`Crops.batch`.
    """
    windows, places = [], []
    for length, share in zip(source.image.shape, where, strict=True):
        start = share * (length - side * factor)
        if factor == 1:
            start = float(round(start))  # the pixels of the source, without any averaging
        windows.append(area_means(length, start, factor, side))
        centres = start + factor * (torch.arange(side) + 0.5) - length / 2
        places.append(centres * source.pixel_mm / unit_mm)
    (first, down), (second, across) = windows
    inner = source.image[first, second].float()
    image = down @ inner @ across.T
    log_pixel = torch.full_like(image, math.log(factor * source.pixel_mm))
    y, x = torch.meshgrid(*places, indexing="ij")
    return torch.stack([image, log_pixel, x, y])


def area_means(length: int, start: float, factor: float, count: int) -> tuple[slice, Tensor]:
    """The weights of the area means along one axis.

    Args:
        length: number of source pixels.
        start: begin of the first new pixel, in source pixels.
        factor: length of a new pixel in source pixels.
        count: number of new pixels.

    Returns:
        The range of source pixels that contribute, and the weights (count, range) of each of them;
        source pixels outside have the value 0.
    """
    low = min(max(0, math.floor(start)), length - 1)
    high = max(low + 1, min(length, math.ceil(start + factor * count)))
    edges = start + factor * torch.arange(count + 1, dtype=torch.float64)
    pixels = torch.arange(low, high + 1, dtype=torch.float64)
    begin = torch.maximum(edges[:-1, None], pixels[None, :-1])
    end = torch.minimum(edges[1:, None], pixels[None, 1:])
    weights = (end - begin).clamp_min(0) / factor
    return slice(low, high), weights.float()


def _draws(u: Tensor) -> CropDraws:
    source, number, pixel, mirror, turn = u[:5].tolist()
    rows, columns = u[5:].chunk(2)
    return CropDraws(source, number, pixel, rows, columns, mirror, turn)

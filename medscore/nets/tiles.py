"""Large images in bounded memory: a network that is evaluated in overlapping tiles.

The output of a network without attention or statistics over the image depends, at a pixel, on a
bounded neighbourhood only. The image is therefore split into tiles that begin and end at multiples
of the network's stride, and each is evaluated with a margin that covers the neighbourhood. Tiles at
the border of the image end there, so that the network pads them as it pads the whole image. The
joined tiles equal the output for the whole image, apart from rounding.

The margin costs evaluations of pixels that are not used. Tiles are therefore as large as the memory
budget permits, and no smaller than twice the margin: smaller ones would take much more time, and
save little memory.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from medscore.nets.output import output_of
from medscore.nets.spec import NetworkSpec


class Span(NamedTuple):
    """A tile along one axis, in pixels.

    Attributes:
        first: first pixel of the tile.
        last: pixel behind the last of the tile.
        begin: first pixel of the tile with its margin.
        end: pixel behind the last of the tile with its margin.
    """

    first: int
    last: int
    begin: int
    end: int

    @property
    def width(self) -> int:
        """Number of pixels of the tile with its margin."""
        return self.end - self.begin


class Tiled(nn.Module):
    """A network whose evaluations fit into a memory budget.

    A batch is processed image by image, and an image in tiles, as far as the budget requires. With
    a gradient, the features of a tile are computed again in the backward pass instead of kept.

    Args:
        network: the network F(u, c).
        spec: its specification, with a receptive field.
        budget: memory of the features in bytes.
    """

    def __init__(self, network: nn.Module, spec: NetworkSpec, budget: int) -> None:
        super().__init__()
        self.network, self.spec, self.budget = network, spec, budget
        self.stride, self.margin = spec.stride, spec.margin
        self.bytes = {gradient: spec.activation_bytes(gradient) for gradient in (False, True)}

    def forward(self, u: Tensor, c: Tensor) -> Tensor:
        """The output of the network.

        Args:
            u: images (batch, channel, H, W) whose sides are multiples of the stride.
            c: time variable of each image, (batch,).
        """
        images, height, width = len(u), *u.shape[-2:]
        gradient = torch.is_grad_enabled() and (
            u.requires_grad or any(p.requires_grad for p in self.network.parameters())
        )
        pixels = self.budget // self.bytes[gradient]
        if images * height * width <= pixels:
            return output_of(self.network(u, c))
        together = max(1, pixels // (height * width))
        rows, columns = tiles((height, width), pixels, self.stride, self.margin)
        batches = []
        for part, level in zip(u.split(together), c.split(together), strict=True):
            lines = []
            for row in rows:
                line = [self._tile(part, level, row, column, gradient) for column in columns]
                lines.append(torch.cat(line, dim=3))
            batches.append(torch.cat(lines, dim=2))
        return torch.cat(batches)

    def _tile(self, u: Tensor, c: Tensor, row: Span, column: Span, gradient: bool) -> Tensor:
        """The output at a tile."""
        part = u[..., row.begin : row.end, column.begin : column.end]
        if gradient:
            found = checkpoint(self.network, part, c, use_reentrant=False)
        else:
            found = self.network(part, c)
        top, left = row.first - row.begin, column.first - column.begin
        return output_of(found)[
            ..., top : top + row.last - row.first, left : left + column.last - column.first
        ]


@lru_cache(maxsize=64)
def tiles(
    shape: tuple[int, int], pixels: int, stride: int, margin: int
) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """The split of an image that evaluates the fewest pixels, in tiles that fit into the memory.

    Where no split fits, it is the one with the smallest tiles.

    Args:
        shape: rows and columns of the image.
        pixels: largest number of pixels of a tile with its margin.
        stride: number whose multiples the tiles begin and end at.
        margin: width of the margin.

    Returns:
        The tiles along the rows and along the columns.
    """
    smallest = max(stride, 2 * margin)
    splits = [
        [spans(length, count, stride, margin) for count in range(1, max(1, length // smallest) + 1)]
        for length in shape
    ]

    def cost(split: tuple[tuple[Span, ...], tuple[Span, ...]]) -> tuple[int, int]:
        (rows, columns) = split
        largest = rows[0].width * columns[0].width
        return max(largest, pixels), largest * len(rows) * len(columns)

    return min(((rows, columns) for rows in splits[0] for columns in splits[1]), key=cost)


def spans(length: int, count: int, stride: int, margin: int) -> tuple[Span, ...]:
    """An axis in tiles of equal length, up to the stride.

    With their margins all are equally long: those at the border of the image have a wider margin
    on the other side. The memory of one tile then serves the next.

    Args:
        length: number of pixels, a multiple of the stride.
        count: number of tiles.
        stride: number whose multiples the tiles begin and end at.
        margin: width of the margin.
    """
    blocks = length // stride
    edges = [stride * (blocks * i // count) for i in range(count + 1)]
    width = max(
        min(length, last + margin) - max(0, first - margin) for first, last in pairwise(edges)
    )
    begins = [min(max(0, first - margin), length - width) for first in edges[:-1]]
    return tuple(
        Span(first, last, begin, begin + width)
        for (first, last), begin in zip(pairwise(edges), begins, strict=True)
    )

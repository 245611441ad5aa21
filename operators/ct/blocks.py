"""The pixels of an image in blocks, so that what a projector works on stays in the cache.

The matrix of a projector is a row of blocks of columns, A = [A_1 ... A_K], one for each block x_k
of pixels: A x is the sum of the A_k x_k, and block k of A^T y is A_k^T y. An x_k (of 16 images with
their symmetric images) fits into the last cache of a processor, and the next block uses the same
memory again. The symmetries of the square map every block to itself, so that the images of
:mod:`~medscore.operators.ct.symmetry` are made and added up block by block. Within a block the
pixels are in tiles: the rays through a tile are few, and their values stay in the cache of a core.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from medscore.operators.ct.symmetry import Plan

TILE = 32
"""Side of a tile in pixels."""

PIXELS = 2**15
"""Largest number of pixels in a block: 16 MB for 128 columns in float32."""


@dataclass(frozen=True, eq=False)
class Layout:
    """An order of the pixels, and the blocks that they are divided into.

    Attributes:
        order: the pixels in this order, (pixels,); ``None`` for row by row.
        place: the place of each pixel in it, (pixels,); ``None`` for row by row.
        slices: the places of each block.
    """

    order: Tensor | None
    place: Tensor | None
    slices: tuple[slice, ...]


@dataclass(frozen=True)
class Block:
    """Index arrays between the pixels of a block and their symmetric images, which it contains.

    Attributes:
        place: the places of the pixels.
        turn: (pixels * n,) int32: pixel q of x o g is pixel ``turn[q * n + g]`` of x, counted
            within the block.
        unturn: (pixels, n) int32: the positions q * n + g of pixel p of x.
    """

    place: slice
    turn: Tensor
    unturn: Tensor

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return len(self.unturn)

    def to(self, device: torch.device) -> Block:
        """The block with its index arrays on ``device``."""
        return Block(self.place, self.turn.to(device), self.unturn.to(device))


@lru_cache(maxsize=8)
def untiled(size: int) -> Layout:
    """One block with the pixels row by row.

    Args:
        size: pixels per side.
    """
    return Layout(None, None, (slice(0, size * size),))


@lru_cache(maxsize=4)
def tiled(size: int) -> Layout:
    """Blocks of at most ``PIXELS`` pixels, in tiles of ``TILE`` by ``TILE``.

    The tiles are counted from the centre of the image, so that the symmetries of the square map
    tiles to tiles. Opposite tiles are neighbours in the order: of the rays that a projector stores,
    they have as many together as any other pair, so threads that share a block have the same to do.

    Args:
        size: pixels per side.
    """
    from_centre = torch.arange(size) - (size - 1) / 2
    tile, ring = (from_centre / TILE).floor().long(), (from_centre.abs() / TILE).floor().long()
    i, j = (index.flatten() for index in torch.meshgrid(*[torch.arange(size)] * 2, indexing="ij"))
    outer, inner = torch.maximum(ring[i], ring[j]), torch.minimum(ring[i], ring[j])
    orbit = outer * (outer + 1) // 2 + inner  # the images of a tile under all symmetries
    above = tile[i] < 0
    pair = torch.where(above, -1 - tile[i], tile[i]), torch.where(above, -1 - tile[j], tile[j])
    order = _sorted(orbit, *pair, above, i, j)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    slices, start, stop = [], 0, 0
    for pixels in torch.bincount(orbit).tolist():
        if stop > start and stop + pixels - start > PIXELS:
            slices.append(slice(start, stop))
            start = stop
        stop += pixels
    return Layout(order, place, (*slices, slice(start, stop)))


def blocks(plan: Plan, layout: Layout) -> Iterator[Block]:
    """The index arrays of a plan, block by block.

    Args:
        plan: the symmetries.
        layout: the order of the pixels.
    """
    n = plan.order
    for own in layout.slices:
        turn, unturn = plan.turn.reshape(-1, n), plan.unturn
        if layout.order is not None and layout.place is not None:
            order = layout.order[own]
            turn = layout.place[turn[order]] - own.start
            unturn = (layout.place[unturn[order] // n] - own.start) * n + unturn[order] % n
        yield Block(own, turn.flatten().int(), unturn.int())


def _sorted(*keys: Tensor) -> Tensor:
    """The order of the lexicographically increasing keys."""
    order = torch.arange(len(keys[0]))
    for key in reversed(keys):
        order = order[torch.argsort(key[order], stable=True)]
    return order

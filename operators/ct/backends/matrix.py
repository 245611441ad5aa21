"""Line integrals as a sparse matrix: ``csr`` stores it, ``chunked`` computes it piece by piece.

Both use the rows of :mod:`~medscore.operators.ct.joseph` and the symmetries of
:mod:`~medscore.operators.ct.symmetry`. ``Stored`` also stores the transpose for the adjoint,
because PyTorch's product with a transposed sparse matrix is slow, and both in the blocks of
:mod:`~medscore.operators.ct.blocks`. It takes 32 bytes per crossing in float32, or half of
that with values in float16. ``Chunked`` computes the matrix in pieces and discards them: slow, but
its memory does not grow with the matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from medscore.operators.ct.backends.base import Backend, Views
from medscore.operators.ct.backends.storage import layout, multiply, on, stored, transpose
from medscore.operators.ct.blocks import Block, blocks, untiled
from medscore.operators.ct.geometry import Geometry
from medscore.operators.ct.joseph import Csr, joseph
from medscore.operators.ct.rays import Rays
from medscore.operators.ct.symmetry import plan

FORWARD, ADJOINT = 128, 64
"""Number of columns that are multiplied at a time (measured with benchmarks/projectors.py).

With more, a block of the images no longer fits into the processor's cache; with fewer, the matrix is
read more often.
"""

PIECE = 2**22
"""Number of crossings in a piece of ``Chunked``: 70 MB, and the same for its transpose."""


@runtime_checkable
class Matrix(Protocol):
    """A sparse matrix A = [A_1 ... A_K], or a substitute for it."""

    def times(self, k: int, x: Tensor) -> Tensor:
        """The product of A_k with a dense matrix ``x`` (pixels, columns)."""

    def transposed_times(self, k: int, y: Tensor) -> Tensor:
        """The product of A_k^T with a dense matrix ``y`` (rays, columns)."""


@dataclass(frozen=True)
class Stored(Backend):
    """``csr``: the matrix and its transpose in memory; large ones are cached on disk.

    Attributes:
        half: whether values are stored in float16; sums are in the type of the images.
    """

    half: bool = False

    def project(self, x: Tensor, geometry: Geometry, views: Views | None) -> Tensor:
        pair = stored(geometry, views, x.dtype, x.device, self.half)
        found = _project(x, geometry, _indices(geometry, views, x.device), pair)
        return found.mul_(pair.unit) if self.half else found

    def backproject(self, sinogram: Tensor, geometry: Geometry, views: Views | None) -> Tensor:
        pair = stored(geometry, views, sinogram.dtype, sinogram.device, self.half)
        found = _backproject(sinogram, geometry, _indices(geometry, views, sinogram.device), pair)
        return found.mul_(pair.unit) if self.half else found


class Chunked(Backend):
    """``chunked``: the matrix is computed piece by piece, in every call."""

    def project(self, x: Tensor, geometry: Geometry, views: Views | None) -> Tensor:
        indices = _indices(geometry, views, x.device, tiles=False)
        return _project(x, geometry, indices, _Pieces(indices.rays, geometry))

    def backproject(self, sinogram: Tensor, geometry: Geometry, views: Views | None) -> Tensor:
        indices = _indices(geometry, views, sinogram.device, tiles=False)
        return _backproject(sinogram, geometry, indices, _Pieces(indices.rays, geometry))


@dataclass(frozen=True)
class Indices:
    """Index arrays of a scan: those of its symmetries, with the pixels in blocks.

    Attributes:
        n: number of symmetries.
        rays: the seed rays.
        take: the seed and symmetry of each ray, as in :class:`~.symmetry.Plan`.
        give: its inverse.
        blocks: index arrays between images and their blocks.
        order: the pixels in the order of the blocks.
        place: the place of each pixel in this order.
    """

    n: int
    rays: Rays
    take: Tensor
    give: Tensor
    blocks: tuple[Block, ...]
    order: Tensor
    place: Tensor


def _project(x: Tensor, geometry: Geometry, indices: Indices, matrix: Matrix) -> Tensor:
    n, largest = indices.n, max(block.pixels for block in indices.blocks)
    sinogram = x.new_empty(len(x), len(indices.take))
    for own in _parts(len(x), FORWARD // n):
        columns = _transposed(x[own].flatten(1)).index_select(0, indices.order)
        images = columns.shape[1]
        room = x.new_empty(largest * n, images)
        rays = x.new_zeros(())
        for k, block in enumerate(indices.blocks):
            turned = room[: block.pixels * n]
            torch.index_select(columns[block.place], 0, block.turn, out=turned)
            x_k = turned.reshape(block.pixels, n * images)
            rays = rays.add_(matrix.times(k, x_k)) if k else matrix.times(k, x_k)
        rays = rays.reshape(-1, images).index_select(0, indices.take)
        _write(rays, sinogram[own])
    return sinogram.reshape(len(x), -1, geometry.detectors)


def _backproject(sinogram: Tensor, geometry: Geometry, indices: Indices, matrix: Matrix) -> Tensor:
    n, pixels = indices.n, len(indices.place)
    image = sinogram.new_empty(len(sinogram), pixels)
    for own in _parts(len(sinogram), ADJOINT // n):
        rays = _transposed(sinogram[own].flatten(1))
        images = rays.shape[1]
        with_none = torch.nn.functional.pad(rays, (0, 0, 0, 1))
        seeds = with_none.index_select(0, indices.give).reshape(-1, n * images)
        columns = sinogram.new_empty(pixels, images)
        for k, block in enumerate(indices.blocks):
            turned = matrix.transposed_times(k, seeds).reshape(-1, images)
            columns[block.place] = _gathered_sum(block.unturn, turned)
        _write(columns.index_select(0, indices.place), image[own])
    return image.reshape(len(sinogram), geometry.size, geometry.size)


def _parts(count: int, step: int) -> list[slice]:
    step = max(1, step)
    return [slice(i, min(i + step, count)) for i in range(0, count, step)]


def _transposed(x: Tensor) -> Tensor:
    """The transpose of a matrix with few rows, faster than ``x.t().contiguous()``."""
    return torch.stack(x.unbind(0), 1)


def _write(columns: Tensor, rows: Tensor) -> None:
    """Write the columns of a matrix into the rows of another one, faster than by a transpose."""
    for column, row in zip(columns.unbind(1), rows, strict=True):
        row.copy_(column)


def _gathered_sum(indices: Tensor, rows: Tensor) -> Tensor:
    """Sum over the last axis of ``rows[indices]``: (n, k) and (m, columns) to (n, columns)."""
    return torch.nn.functional.embedding_bag(indices, rows, mode="sum")


@dataclass(frozen=True)
class _Pieces:
    rays: Rays
    geometry: Geometry

    def _pieces(self, like: Tensor) -> list[slice]:
        step = max(1, PIECE // self.geometry.size)
        return [slice(i, i + step) for i in range(0, len(self.rays.point), step)]

    def _piece(self, rows: slice, like: Tensor) -> Csr:
        rays = Rays(self.rays.point[rows], self.rays.direction[rows])
        return joseph(rays, self.geometry.size, self.geometry.spacing, like.dtype)

    def times(self, k: int, x: Tensor) -> Tensor:
        return torch.cat(
            [multiply(on(self._piece(rows, x), x.device), x) for rows in self._pieces(x)]
        )

    def transposed_times(self, k: int, y: Tensor) -> Tensor:
        image = y.new_zeros(self.geometry.size**2, y.shape[1])
        for rows in self._pieces(y):
            piece = on(transpose(self._piece(rows, y)), y.device)
            image += multiply(piece, y[rows])
        return image


@lru_cache(maxsize=8)
def _indices(
    geometry: Geometry, views: Views | None, device: torch.device, tiles: bool = True
) -> Indices:
    chosen = plan(geometry, views)
    pixels = layout(geometry.size) if tiles else untiled(geometry.size)
    take, give, order, place = (
        indices.to(device, torch.int32)
        for indices in (chosen.take, chosen.give, pixels.order, pixels.place)
    )
    moved = tuple(block.to(device) for block in blocks(chosen, pixels))
    return Indices(chosen.order, chosen.rays, take, give, moved, order, place)

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
from medscore.operators.ct.backends.storage import Pair, layout, multiply, on, stored, transpose
from medscore.operators.ct.blocks import Block, Layout, blocks, untiled
from medscore.operators.ct.geometry import Geometry
from medscore.operators.ct.joseph import Csr, joseph
from medscore.operators.ct.rays import Rays
from medscore.operators.ct.symmetry import plan

FORWARD, ADJOINT = 128, 64
"""Number of columns that are multiplied at a time, with the pixels in several blocks.

With more, a block no longer fits into the processor's cache; with fewer, the matrix is read more
often (measured with benchmarks/projectors.py).
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
        matrix, indices = self._of(x, geometry, views)
        found = _project(x, geometry, indices, matrix)
        return found.mul_(matrix.unit) if self.half else found

    def backproject(self, sinogram: Tensor, geometry: Geometry, views: Views | None) -> Tensor:
        matrix, indices = self._of(sinogram, geometry, views)
        found = _backproject(sinogram, geometry, indices, matrix)
        return found.mul_(matrix.unit) if self.half else found

    def _of(self, x: Tensor, geometry: Geometry, views: Views | None) -> tuple[Pair, Indices]:
        pixels = layout(geometry, views, half=self.half)
        matrix = stored(geometry, views, x.dtype, x.device, self.half)
        return matrix, _indices(geometry, views, x.device, pixels)


class Chunked(Backend):
    """``chunked``: the matrix is computed piece by piece, in every call."""

    def project(self, x: Tensor, geometry: Geometry, views: Views | None) -> Tensor:
        indices = _indices(geometry, views, x.device, untiled(geometry.size))
        return _project(x, geometry, indices, _Pieces(indices.rays, geometry))

    def backproject(self, sinogram: Tensor, geometry: Geometry, views: Views | None) -> Tensor:
        indices = _indices(geometry, views, sinogram.device, untiled(geometry.size))
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
        order: the pixels in the order of the blocks; ``None`` for row by row.
        place: the place of each pixel in this order; ``None`` for row by row.
    """

    n: int
    rays: Rays
    take: Tensor
    give: Tensor
    blocks: tuple[Block, ...]
    order: Tensor | None
    place: Tensor | None


def width(geometry: Geometry, indices: Indices, many: int) -> int:
    """Number of images that are multiplied at a time.

    Args:
        geometry: the scan.
        indices: its index arrays.
        many: number of columns if the pixels are in several blocks.
    """
    if len(indices.blocks) == 1:
        many = 64 if geometry.size <= 384 else 32
    return max(1, many // indices.n)


def _project(x: Tensor, geometry: Geometry, indices: Indices, matrix: Matrix) -> Tensor:
    n, largest = indices.n, max(block.pixels for block in indices.blocks)

    def part(images: Tensor) -> Tensor:
        columns = _gathered(_columns(images), indices.order)
        room = columns.new_empty(largest * n if n > 1 else 0, len(images))
        rays = columns.new_zeros(())
        for k, block in enumerate(indices.blocks):
            x_k = columns[block.place]
            if n > 1:
                turned = room[: block.pixels * n]
                torch.index_select(x_k, 0, block.turn, out=turned)
                x_k = turned.reshape(block.pixels, -1)
            rays = rays.add_(matrix.times(k, x_k)) if k else matrix.times(k, x_k)
        return _gathered(rays.reshape(-1, len(images)), indices.take if n > 1 else None)

    views = len(indices.take) // geometry.detectors
    sinogram = x.new_empty(len(x), views, geometry.detectors)
    for own in _parts(len(x), width(geometry, indices, FORWARD)):
        _write(part(x[own]), sinogram[own])
    return sinogram


def _backproject(sinogram: Tensor, geometry: Geometry, indices: Indices, matrix: Matrix) -> Tensor:
    n, pixels = indices.n, geometry.size**2

    def part(rays: Tensor) -> Tensor:
        seeds = _columns(rays)
        if n > 1:
            with_none = torch.nn.functional.pad(seeds, (0, 0, 0, 1))
            seeds = with_none.index_select(0, indices.give).reshape(-1, n * len(rays))
        columns = seeds.new_empty(pixels, len(rays))
        for k, block in enumerate(indices.blocks):
            turned = matrix.transposed_times(k, seeds).reshape(-1, len(rays))
            columns[block.place] = _gathered_sum(block.unturn, turned) if n > 1 else turned
        return _gathered(columns, indices.place)

    image = sinogram.new_empty(len(sinogram), geometry.size, geometry.size)
    for own in _parts(len(sinogram), width(geometry, indices, ADJOINT)):
        _write(part(sinogram[own]), image[own])
    return image


def _parts(count: int, step: int) -> list[slice]:
    return [slice(i, min(i + step, count)) for i in range(0, count, step)]


def _columns(x: Tensor) -> Tensor:
    """Arrays (images, rows, columns) as the columns of a matrix."""
    return x.permute(1, 2, 0).contiguous().reshape(-1, len(x))


def _write(columns: Tensor, out: Tensor) -> None:
    """Write the columns of a matrix to arrays (images, rows, columns)."""
    out.copy_(columns.reshape(*out.shape[1:], len(out)).permute(2, 0, 1))


def _gathered(rows: Tensor, indices: Tensor | None) -> Tensor:
    return rows if indices is None else rows.index_select(0, indices)


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
    geometry: Geometry, views: Views | None, device: torch.device, pixels: Layout
) -> Indices:
    chosen = plan(geometry, views)
    own = tuple(block.to(device) for block in blocks(chosen, pixels))
    take, give = (indices.to(device, torch.int32) for indices in (chosen.take, chosen.give))
    order, place = (
        None if indices is None else indices.to(device, torch.int32)
        for indices in (pixels.order, pixels.place)
    )
    return Indices(chosen.order, chosen.rays, take, give, own, order, place)

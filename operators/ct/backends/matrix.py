"""Line integrals as a sparse matrix: ``csr`` stores it, ``chunked`` computes it piece by piece.

Both use the rows of :mod:`~medscore.operators.ct.joseph` and the symmetries of
:mod:`~medscore.operators.ct.symmetry`. ``Stored`` also stores the transpose for the adjoint,
because PyTorch's product with a transposed sparse matrix is slow. It takes 16 bytes per crossing in
float32. ``Chunked`` computes the matrix in pieces and discards them: slow, but its memory does not
grow with the matrix.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, runtime_checkable

import scipy.sparse
import torch
from torch import Tensor

from medscore.operators.ct.backends import cache
from medscore.operators.ct.backends.base import Backend, Views
from medscore.operators.ct.geometry import Geometry
from medscore.operators.ct.joseph import Csr, joseph
from medscore.operators.ct.rays import Rays
from medscore.operators.ct.symmetry import Plan, plan


def width(geometry: Geometry) -> int:
    """Number of columns that are multiplied at a time.

    With more, the images no longer fit into the processor's cache; with fewer, the matrix is read
    more often (measured with benchmarks/projectors.py).

    Args:
        geometry: the scan.
    """
    return 64 if geometry.size <= 384 else 32


FEW = 16
"""Number of columns from which an embedding bag is faster than MKL's sparse product."""

PIECE = 2**22
"""Number of crossings in a piece of ``Chunked``: 70 MB, and the same for its transpose."""


@runtime_checkable
class Matrix(Protocol):
    """A sparse matrix A, or a substitute for it."""

    def times(self, x: Tensor) -> Tensor:
        """The product of A with a dense matrix ``x`` (pixels, columns)."""

    def transposed_times(self, y: Tensor) -> Tensor:
        """The product of A^T with a dense matrix ``y`` (rays, columns)."""


class Stored(Backend):
    """``csr``: the matrix and its transpose in memory; large ones are cached on disk."""

    def project(self, x: Tensor, geometry: Geometry, views: Views | None) -> Tensor:
        return _project(x, geometry, _plan(geometry, views, x.device), _stored(geometry, views, x))

    def backproject(self, sinogram: Tensor, geometry: Geometry, views: Views | None) -> Tensor:
        matrix = _stored(geometry, views, sinogram)
        return _backproject(sinogram, geometry, _plan(geometry, views, sinogram.device), matrix)


class Chunked(Backend):
    """``chunked``: the matrix is computed piece by piece, in every call."""

    def project(self, x: Tensor, geometry: Geometry, views: Views | None) -> Tensor:
        chosen = _plan(geometry, views, x.device)
        return _project(x, geometry, chosen, _Pieces(chosen.rays, geometry))

    def backproject(self, sinogram: Tensor, geometry: Geometry, views: Views | None) -> Tensor:
        chosen = _plan(geometry, views, sinogram.device)
        return _backproject(sinogram, geometry, chosen, _Pieces(chosen.rays, geometry))


def stored_bytes(geometry: Geometry, views: Views | None) -> int:
    """Upper bound of the memory of ``csr`` in bytes, in float32.

    Args:
        geometry: the scan.
        views: indices of the views, or ``None`` for all.
    """
    rays = len(plan(geometry, views).rays.point)
    return 16 * geometry.size * rays


def _project(x: Tensor, geometry: Geometry, p: Plan, matrix: Matrix) -> Tensor:
    def part(images: Tensor) -> Tensor:
        columns = images.flatten(1).t().contiguous()
        if p.order == 1:
            return matrix.times(columns).t()
        turned = columns.index_select(0, p.turn).reshape(len(columns), -1)
        rays = matrix.times(turned).reshape(-1, len(images))
        return rays.index_select(0, p.take).t()

    sinogram = torch.cat([part(images) for images in x.split(width(geometry) // p.order)])
    return sinogram.reshape(len(x), -1, geometry.detectors)


def _backproject(sinogram: Tensor, geometry: Geometry, p: Plan, matrix: Matrix) -> Tensor:
    def part(rays: Tensor) -> Tensor:
        columns = rays.flatten(1).t().contiguous()
        if p.order == 1:
            return matrix.transposed_times(columns).t()
        with_none = torch.nn.functional.pad(columns, (0, 0, 0, 1))
        seeds = with_none.index_select(0, p.give).reshape(len(p.give) // p.order, -1)
        turned = matrix.transposed_times(seeds).reshape(-1, len(rays))
        return _gathered_sum(p.unturn, turned).t()

    image = torch.cat([part(rays) for rays in sinogram.split(width(geometry) // p.order)])
    return image.reshape(len(sinogram), geometry.size, geometry.size)


def _gathered_sum(indices: Tensor, rows: Tensor) -> Tensor:
    """Sum over the last axis of ``rows[indices]``: (n, k) and (m, columns) to (n, columns)."""
    return torch.nn.functional.embedding_bag(indices, rows, mode="sum")


@dataclass(frozen=True)
class _Pair:
    matrix: Csr
    transposed: Csr

    def times(self, x: Tensor) -> Tensor:
        return multiply(self.matrix, x)

    def transposed_times(self, y: Tensor) -> Tensor:
        return multiply(self.transposed, y)


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

    def times(self, x: Tensor) -> Tensor:
        return torch.cat(
            [multiply(_on(self._piece(rows, x), x.device), x) for rows in self._pieces(x)]
        )

    def transposed_times(self, y: Tensor) -> Tensor:
        image = y.new_zeros(self.geometry.size**2, y.shape[1])
        for rows in self._pieces(y):
            piece = _on(transpose(self._piece(rows, y)), y.device)
            image += multiply(piece, y[rows])
        return image


def multiply(matrix: Csr, x: Tensor) -> Tensor:
    """The product of a sparse and a dense matrix.

    With many columns on a CPU it is computed as a weighted embedding bag, whose kernels prefetch
    the rows that they gather; with few, MKL is faster.

    Args:
        matrix: the sparse matrix.
        x: the dense matrix, (width, columns).
    """
    if x.device.type == "cpu" and x.dtype == torch.float32 and x.shape[1] >= FEW:
        return torch.nn.functional.embedding_bag(
            matrix.columns,
            x,
            matrix.start,
            per_sample_weights=matrix.values,
            mode="sum",
            include_last_offset=True,
        )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Ss]parse.*", category=UserWarning)
        csr = torch.sparse_csr_tensor(
            matrix.start,
            matrix.columns,
            matrix.values,
            size=(matrix.rows, matrix.width),
            check_invariants=False,
        )
    return csr @ x


def transpose(matrix: Csr) -> Csr:
    """The transpose of ``matrix``, computed on the CPU."""
    parts = matrix.values.numpy(), matrix.columns.numpy(), matrix.start.numpy()
    turned = scipy.sparse.csr_matrix(parts, shape=(matrix.rows, matrix.width), copy=False).tocsc()
    start, columns = torch.from_numpy(turned.indptr), torch.from_numpy(turned.indices)
    return Csr(start.int(), columns.int(), torch.from_numpy(turned.data), matrix.rows)


@lru_cache(maxsize=8)
def _plan(geometry: Geometry, views: Views | None, device: torch.device) -> Plan:
    return plan(geometry, views).to(device)


def _stored(geometry: Geometry, views: Views | None, like: Tensor) -> Matrix:
    return _pair(geometry, views, like.dtype, like.device)


@lru_cache(maxsize=4)
def _pair(
    geometry: Geometry, views: Views | None, dtype: torch.dtype, device: torch.device
) -> _Pair:
    def build() -> dict[str, Tensor]:
        matrix = joseph(plan(geometry, views).rays, geometry.size, geometry.spacing, dtype)
        turned = transpose(matrix)
        return {
            "start": matrix.start, "columns": matrix.columns, "values": matrix.values,
            "turned.start": turned.start, "turned.columns": turned.columns,
            "turned.values": turned.values,
        }  # fmt: skip

    key = f"{geometry!r} {views} {dtype}"
    parts = build() if stored_bytes(geometry, views) < cache.SMALLEST else cache.get(key, build)
    rays, pixels = len(parts["start"]) - 1, geometry.size**2
    matrix = Csr(parts["start"], parts["columns"], parts["values"], pixels)
    turned = Csr(parts["turned.start"], parts["turned.columns"], parts["turned.values"], rays)
    return _Pair(_on(matrix, device), _on(turned, device))


def _on(matrix: Csr, device: torch.device) -> Csr:
    if device.type == "cpu":
        return matrix
    start, columns, values = (
        part.to(device) for part in (matrix.start, matrix.columns, matrix.values)
    )
    return Csr(start, columns, values, matrix.width)

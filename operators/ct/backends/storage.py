"""Sparse matrices in memory: their products, their transposes, and their storage.

The values may be stored in float16: they are widened block by block, before the product, so that
the sums are in the type of the images, and the matrix is the same in both directions.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache

import scipy.sparse
import torch
from torch import Tensor

from medscore.operators.ct.backends import cache
from medscore.operators.ct.backends.base import Views
from medscore.operators.ct.blocks import Layout, tiled, untiled
from medscore.operators.ct.geometry import Geometry
from medscore.operators.ct.joseph import Csr, crossings, joseph
from medscore.operators.ct.rays import Rays
from medscore.operators.ct.symmetry import seed_rays, symmetries

FEW = 8
"""Number of columns from which an embedding bag is faster than MKL's sparse product."""

LARGE = 2**20
"""Number of pixels, with their symmetric images, from which blocks are faster."""

SHORT = 2**16
"""Number of columns that 16 bits can count."""


@dataclass(frozen=True)
class Pair:
    """A matrix and its transpose, by blocks of pixels.

    Attributes:
        forward: the blocks A_k of columns.
        adjoint: their transposes.
        unit: the factor that is left out of the values: the pixel spacing where they are in
            float16, whose range is small.
    """

    forward: tuple[Csr, ...]
    adjoint: tuple[Csr, ...]
    unit: float

    def times(self, k: int, x: Tensor) -> Tensor:
        """The product of A_k with a dense matrix ``x`` (pixels, columns)."""
        return multiply(self.forward[k], x)

    def transposed_times(self, k: int, y: Tensor) -> Tensor:
        """The product of A_k^T with a dense matrix ``y`` (rays, columns)."""
        return multiply(self.adjoint[k], y)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return sum(
            part.nbytes
            for matrix in (*self.forward, *self.adjoint)
            for part in (matrix.start, matrix.columns, matrix.values)
        )


def multiply(matrix: Csr, x: Tensor) -> Tensor:
    """The product of a sparse and a dense matrix, in the type of the latter.

    With many columns on a CPU it is computed as a weighted embedding bag, whose kernels prefetch
    the rows that they gather; with few, MKL is faster.

    Args:
        matrix: the sparse matrix.
        x: the dense matrix, (width, columns).
    """
    columns, values = matrix.columns.to(torch.int32), matrix.values.to(x.dtype)
    if x.device.type == "cpu" and x.dtype == torch.float32 and x.shape[1] >= FEW:
        return torch.nn.functional.embedding_bag(
            columns,
            x,
            matrix.start,
            per_sample_weights=values,
            mode="sum",
            include_last_offset=True,
        )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Ss]parse.*", category=UserWarning)
        csr = torch.sparse_csr_tensor(
            matrix.start,
            columns,
            values,
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


def on(matrix: Csr, device: torch.device) -> Csr:
    """``matrix`` on a device.

    Args:
        matrix: the matrix.
        device: the device.
    """
    start, columns, values = (
        part.to(device) for part in (matrix.start, matrix.columns, matrix.values)
    )
    return Csr(start, columns, values, matrix.width)


def stored_bytes(geometry: Geometry, views: Views | None, *, half: bool = False) -> int:
    """Memory of the matrix and its transpose in bytes, for images in float32.

    Args:
        geometry: the scan.
        views: indices of the views, or ``None`` for all.
        half: whether values are in float16.
    """
    rays, slices = seed_rays(geometry, views), layout(geometry, views, half=half).slices
    entries = 2 * int(crossings(rays, geometry.size, geometry.spacing)[1].sum())
    starts = 4 * (len(slices) * (len(rays.point) + 1) + geometry.size**2 + len(slices))
    if not half:
        return 16 * entries + starts
    widths = *(own.stop - own.start for own in slices), len(rays.point)
    columns = sum(2 if n <= SHORT else 4 for n in (max(widths[:-1]), widths[-1]))
    return (2 + 2 + columns) * entries + starts


@lru_cache(maxsize=64)
def layout(geometry: Geometry, views: Views | None, *, half: bool = False) -> Layout:
    """The order of the pixels of a stored matrix: in blocks where that is faster or smaller.

    Args:
        geometry: the scan.
        views: indices of the views, or ``None`` for all.
        half: as in :func:`stored`; with blocks, 16 bits count the columns.
    """
    pixels, n = geometry.size**2, symmetries(geometry, views)
    if (n > 1 and n * pixels > LARGE) or (half and pixels > SHORT):
        return tiled(geometry.size)
    return untiled(geometry.size)


@lru_cache(maxsize=4)
def stored(
    geometry: Geometry,
    views: Views | None,
    dtype: torch.dtype,
    device: torch.device,
    half: bool = False,
) -> Pair:
    """The matrix of a scan: kept in memory, and on disk if it is large.

    Args:
        geometry: the scan.
        views: indices of the views, or ``None`` for all.
        dtype: type of the images.
        device: device of the images.
        half: whether to store values in float16 and, where they fit, columns in 16 bits.
    """
    rays, pixels = seed_rays(geometry, views), layout(geometry, views, half=half)

    def build() -> dict[str, Tensor]:
        return _build(geometry, rays, pixels, torch.float32 if half else dtype, half)

    key = f"{geometry!r} {views} {'float16' if half else dtype} {len(pixels.slices)} blocks"
    small = stored_bytes(geometry, views, half=half) < cache.SMALLEST
    parts = build() if small else cache.get(key, build)

    def part(name: str, width: int) -> Csr:
        start, columns, values = (parts[f"{name}.{k}"] for k in ("start", "columns", "values"))
        return on(Csr(start, columns, values, width), device)

    return Pair(
        tuple(part(f"forward.{k}", own.stop - own.start) for k, own in enumerate(pixels.slices)),
        tuple(part(f"adjoint.{k}", len(rays.point)) for k in range(len(pixels.slices))),
        geometry.spacing if half else 1.0,
    )


def _build(
    geometry: Geometry, rays: Rays, pixels: Layout, dtype: torch.dtype, half: bool
) -> dict[str, Tensor]:
    matrix = joseph(rays, geometry.size, geometry.spacing, dtype)
    columns = matrix.columns if pixels.place is None else pixels.place.int()[matrix.columns]
    turned = transpose(Csr(matrix.start, columns, matrix.values, matrix.width))
    del matrix, columns
    parts: dict[str, Tensor] = {}
    for k, own in enumerate(pixels.slices):
        start = turned.start[own.start : own.stop + 1]
        entries = slice(int(start[0]), int(start[-1]))
        rows = Csr(start - start[0], turned.columns[entries], turned.values[entries], turned.width)
        for name, block in ((f"forward.{k}", transpose(rows)), (f"adjoint.{k}", rows)):
            narrow = _narrow(block, geometry.spacing) if half else block
            parts |= {
                f"{name}.start": narrow.start,
                f"{name}.columns": narrow.columns,
                f"{name}.values": narrow.values,
            }
    return parts


def _narrow(matrix: Csr, unit: float) -> Csr:
    """The matrix divided by ``unit``, in as few bits as possible."""
    columns = matrix.columns.to(torch.uint16) if matrix.width <= SHORT else matrix.columns
    return Csr(matrix.start, columns, (matrix.values / unit).half(), matrix.width)

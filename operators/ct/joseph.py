r"""Joseph's projector as a sparse matrix: one linear interpolation per image row or column.

A ray that is closer to the vertical crosses each image row i at the column
:math:`c_i = c_0 + i\,r`. Its weights are :math:`(1 - \{c_i\})` for pixel
:math:`\lfloor c_i\rfloor` and :math:`\{c_i\}` for the next one to the right, times its length
spacing / |cos| in the row. For a ray closer to the horizontal, rows and columns are exchanged
(Joseph 1982).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medscore.operators.ct.rays import Rays

CHUNK = 2**18
"""Number of crossings computed at a time, so that temporaries fit into the processor's cache."""


@dataclass(frozen=True)
class Csr:
    """A sparse matrix: row r has the ``values[start[r]:start[r + 1]]`` in the same ``columns``.

    Attributes:
        start: index of the first entry of each row, (rows + 1,) int32.
        columns: column of each entry, (entries,) int32.
        values: the entries, (entries,).
        width: number of columns.
    """

    start: Tensor
    columns: Tensor
    values: Tensor
    width: int

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.start) - 1


def joseph(rays: Rays, size: int, spacing: float, dtype: torch.dtype) -> Csr:
    """The matrix of line integrals of an image, row-major, along ``rays``.

    Entries at the edge of the image may be explicit zeros; a pixel may occur twice in a row.

    Args:
        rays: the lines.
        size: number of pixels per side.
        spacing: pixel spacing in mm.
        dtype: type of the entries.
    """
    first, count, start_at, rate, length, steep = crossings(rays, size, spacing)
    ends = count.cumsum(0)
    total = int(ends[-1])
    start = torch.zeros(len(count) + 1, dtype=torch.int32)
    start[1:] = 2 * ends
    columns = torch.empty(total, 2, dtype=torch.int32)
    values = torch.empty(total, 2, dtype=dtype)
    begin = 0
    while begin < len(count):
        done = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(torch.searchsorted(ends, done + CHUNK, right=True)))
        own = slice(begin, end)
        n = count[own]
        ray = torch.repeat_interleave(torch.arange(len(n)), n)
        place = torch.arange(int(n.sum())) - (n.cumsum(0) - n - first[own])[ray]
        across = (start_at[own][ray] + rate[own][ray] * place).clamp_(-1, size)
        left = across.floor()
        right_share = across - left
        left = left.to(torch.int64)
        pair = torch.stack([left, left + 1], -1)
        share = torch.stack([1 - right_share, right_share], -1) * length[own][ray][:, None]
        share[(pair < 0) | (pair >= size)] = 0
        pair.clamp_(0, size - 1)
        upright = steep[own][ray][:, None]
        pixel = torch.where(upright, place[:, None] * size + pair, pair * size + place[:, None])
        columns[done : done + len(place)] = pixel.to(torch.int32)
        values[done : done + len(place)] = share.to(dtype)
        begin = end
    return Csr(start, columns.flatten(), values.flatten(), size * size)


def crossings(
    rays: Rays, size: int, spacing: float
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Crossings of rays with image lines: first, number, c_0, r, length in each, direction.

    A line is an image row where the ray is steep (closer to the vertical), otherwise a column.

    Args:
        rays: the rays.
        size: number of pixels per side.
        spacing: pixel spacing in mm.

    Returns:
        Six arrays (rays,); the last one is true where the ray is steep.
    """
    (px, py), (dx, dy) = (rays.point / spacing).unbind(-1), rays.direction.unbind(-1)
    middle = (size - 1) / 2
    steep = dy.abs() >= dx.abs()
    rate = -torch.where(steep, dx / torch.where(steep, dy, 1.0), dy / torch.where(steep, 1.0, dx))
    by_row = px + middle - (middle - py) * rate  # the column where row 0 is crossed
    by_column = middle - py - (middle + px) * rate  # the row where column 0 is crossed
    start_at = torch.where(steep, by_row, by_column)
    length = spacing / torch.maximum(dx.abs(), dy.abs())
    # the lines i with -1 < start_at + rate i < size
    flat = rate.abs() < 1e-12
    slope = torch.where(flat, 1.0, rate)
    ends = torch.stack([(-1 - start_at) / slope, (size - start_at) / slope])
    low, high = ends.amin(0), ends.amax(0)
    seen = (start_at > -1) & (start_at < size)
    low = torch.where(flat, torch.where(seen, -1.0, float(size)), low)
    high = torch.where(flat, float(size), high)
    first = (low.floor() + 1).clamp(0, size)
    last = (high.ceil() - 1).clamp(-1, size - 1)
    count = (last - first + 1).clamp_min(0)
    return first.long(), count.long(), start_at, rate, length, steep

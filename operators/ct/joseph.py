r"""Joseph's projector as a sparse matrix: one linear interpolation per image row or column.

A ray that is nearer to the vertical crosses each image row i at the column
:math:`c_i = c_0 + i\,r`; it takes :math:`(1 - \{c_i\})` of pixel :math:`\lfloor c_i\rfloor` and
:math:`\{c_i\}` of its right neighbour, times the length spacing / |cos| that it spends in the row.
A ray nearer to the horizontal does the same with rows and columns exchanged (Joseph 1982).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medscore.operators.ct.geometry import Rays

CHUNK = 2**18
"""Crossings worked on at a time: temporaries stay in the processor's cache."""


@dataclass(frozen=True)
class Csr:
    """A sparse matrix: row r holds ``values[start[r]:start[r + 1]]`` at ``columns`` of the same.

    Attributes:
        start: (rows + 1,) int32. columns: (entries,) int32. values: (entries,). width: columns.
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
    """Line integrals along ``rays`` of images of ``size`` x ``size`` pixels, row after row.

    Entries at the image's rim may be explicit zeros; a pixel may occur twice in a row.
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
    """Of each ray: the first line crossed, how many, c_0, r, the length in each, whether steep.

    A line is an image row where the ray is steep, else a column.
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

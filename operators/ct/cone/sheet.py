"""The rays of some columns of a view in a slab of planes, and their two interpolations.

The formulas are those of :mod:`~medscore.operators.ct.cone.upright`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from medscore.operators.ct.cone.symmetry import Element
from medscore.operators.ct.cone.voxel_rays import VoxelRays

PIECE = 2**19
"""Numbers in the lines of voxels that are sampled at a time."""


@dataclass(frozen=True)
class Layout:
    """How lines of voxels along z are stored, and which rows are projected.

    Attributes:
        first: first voxel of a line.
        zeros: number of zeros before it.
        length: length of a line, with two zeros behind it.
        rows: the rows of the detector.
    """

    first: int
    zeros: int
    length: int
    rows: range


@dataclass(frozen=True, eq=False)
class Sheet:
    """The rays of some columns of a view in a slab of planes.

    Attributes:
        columns: indices of the columns.
        left: the voxel left of each crossing, and the next one, in its plane, (columns, planes, 2).
        share: their weights.
        start: place on the line of voxels of row 0, a, (columns, planes).
        rate: voxels of the line from a row to the next, b, (columns, planes).
        rows: number of rows.
        across: number of voxels in a plane.
    """

    columns: Tensor
    left: Tensor
    share: Tensor
    start: Tensor
    rate: Tensor
    rows: int
    across: int

    def project(self, table: Tensor) -> Tensor:
        """The sums over the planes of the slab, (columns, rows, channels)."""
        planes, across, lines = table.shape[:3]
        channels = table[0, 0, 0].numel()
        wide = table.reshape(planes * across, lines * channels)
        rows = torch.arange(self.rows, dtype=table.dtype, device=table.device)[:, None]
        step = max(1, PIECE // (planes * lines * channels))
        base = torch.arange(step * planes, dtype=torch.int32, device=table.device) * lines
        base = base.reshape(step, 1, planes)
        row_of = torch.arange(planes, dtype=torch.int32, device=table.device)[:, None] * across
        found = table.new_empty(len(self.columns), self.rows, channels)
        for begin in range(0, len(self.columns), step):
            own = slice(begin, min(begin + step, len(self.columns)))
            pair, share = (self.left[own] + row_of).reshape(-1, 2), self.share[own].reshape(-1, 2)
            sampled = _bags(pair, wide, share).reshape(-1, channels)
            place = (self.rate[own, None] * rows).add_(self.start[own, None]).clamp_(0, lines - 2)
            count = len(place)
            index = torch.empty(count, self.rows, 2, planes, dtype=torch.int32, device=table.device)
            weight = table.new_empty(index.shape)
            torch.add(place.int(), base[:count], out=index[:, :, 0])
            torch.add(index[:, :, 0], 1, out=index[:, :, 1])
            torch.frac(place, out=weight[:, :, 1])
            torch.sub(1, weight[:, :, 1], out=weight[:, :, 0])
            bags = _bags(index.view(-1, 2 * planes), sampled, weight.view(-1, 2 * planes))
            found[own] = bags.view(count, self.rows, channels)
        return found

    def backproject(self, samples: Tensor, table: Tensor) -> None:
        """Add the adjoint of :meth:`project` to ``table``."""
        planes, across, lines = table.shape[:3]
        channels = samples.shape[2]
        step = max(1, PIECE // (len(self.columns) * lines * channels))
        wide = self._width()
        margin = wide if wide < self.rows else 0
        padded = torch.nn.functional.pad(samples, (0, 0, margin, margin))
        for begin in range(0, planes, step):
            own = slice(begin, min(begin + step, planes))
            sampled = self._lines(padded, own, lines, wide)
            count = own.stop - begin
            bag = torch.arange(count, device=table.device)[:, None] * across + self.left[:, own]
            order = bag.flatten().argsort(stable=True)
            ends = torch.bincount(bag.flatten(), minlength=count * across).cumsum(0)
            found = torch.nn.functional.embedding_bag(
                (order // 2).int(),
                sampled.view(len(self.columns) * count, lines * channels),
                (ends - ends.diff(prepend=ends.new_zeros(1))).int(),
                per_sample_weights=self.share[:, own].flatten()[order],
                mode="sum",
            )
            table[own] += found.view(table[own].shape)

    def _width(self) -> int:
        """The largest number of rows that take from a voxel."""
        seen = self.share.any(-1)
        rate = self.rate[seen].abs()
        return min(self.rows, math.ceil(2 / float(rate.min()))) if len(rate) else 1

    def _lines(self, padded: Tensor, planes: slice, lines: int, wide: int) -> Tensor:
        """The adjoint of the interpolation along z, (columns, planes, lines, channels).

        Args:
            padded: the samples between zeros, (columns, rows, channels).
            planes: the planes.
            lines: length of a line.
            wide: number of rows from which a voxel takes.
        """
        start, rate = self.start[:, planes, None], self.rate[:, planes, None]
        margin, length = (padded.shape[1] - self.rows) // 2, padded.shape[1]
        last = self.rows if margin else 0
        voxel = torch.arange(lines, dtype=padded.dtype, device=padded.device)
        first = ((voxel - rate.sign() - start) / rate).ceil_().clamp_(-margin, last)
        gap = torch.addcmul(start - voxel, rate, first)
        base = torch.arange(len(padded), dtype=torch.int32, device=padded.device) * length + margin
        first = first.int().add_(base[:, None, None])
        index = torch.empty(*first.shape, wide, dtype=torch.int32, device=padded.device)
        weight = gap.new_empty(index.shape)
        for k in range(wide):
            torch.add(first, k, out=index[..., k])
            weight[..., k] = (1 - gap.abs()).clamp_min_(0)
            gap.add_(rate)
        flat = padded.view(-1, padded.shape[2])
        return _bags(index.view(-1, wide), flat, weight.view(-1, wide))


def sheet(
    rays: VoxelRays, lines: Layout, view: int, turn: Element, planes: range, like: Tensor
) -> Sheet | None:
    """The columns of a view whose main axis is that of the rows after ``turn``, if any.

    Args:
        rays: the scan.
        lines: how the lines are stored.
        view: the view.
        turn: a symmetry that maps these rays to those of the view.
        planes: the planes of the slab.
        like: a tensor of the type and on the device of the volume.
    """
    n_z, n_i, n_j = rays.grid.shape
    n_main, across = (n_j, n_i) if turn.swap else (n_i, n_j)
    by_column = rays.first[view, :, 2].abs() > rays.first[view, :, 1].abs()
    columns = (by_column == turn.swap).nonzero()[:, 0]
    if not len(columns):
        return None
    back = turn.inverse
    source, towards = back.point(rays.source[view]), back.point(rays.first[view, columns])
    plane = torch.arange(planes.start, planes.stop, dtype=torch.float64) - (n_main - 1) / 2
    t = (plane - source[1]) / towards[:, 1:2]
    place = source[2] + t * towards[:, 2:] + (across - 1) / 2
    ahead = (t > 0) & (place > -1) & (place < across)
    t = t.clamp_min(1e-12)
    left = place.floor()
    pair = torch.stack([left, left + 1], -1)
    share = torch.stack([left + 1 - place, place - left], -1)
    share = share * ((pair >= 0) & (pair < across) & ahead[..., None])
    rate = t * rays.step[view, 0]
    start = source[0] + t * towards[:, :1] + (n_z - 1) / 2 - lines.first + lines.zeros
    start = start + lines.rows.start * rate
    return Sheet(
        columns.to(like.device), pair.clamp(0, across - 1).to(like.device, torch.int32),
        share.to(like), start.to(like), rate.to(like), len(lines.rows), across,
    )  # fmt: skip


def _bags(index: Tensor, table: Tensor, weight: Tensor) -> Tensor:
    """Weighted sums of rows of a table, (bags, width)."""
    return torch.nn.functional.embedding_bag(index, table, per_sample_weights=weight, mode="sum")

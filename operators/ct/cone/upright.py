r"""Joseph's method for detectors whose columns are parallel to z: two interpolations in a row.

All rays of a column lie in an upright plane, which meets plane i of their main axis at the place
:math:`y_i`, in a line of voxels along z. So the sample of row r is interpolated in two steps,

.. math:: l_i(z) = (1 - \{y_i\})\,x_i(\lfloor y_i\rfloor, z)
                   + \{y_i\}\,x_i(\lfloor y_i\rfloor + 1, z), \qquad
          p(r) = |\ell_r| \sum_i \bigl((1 - \{z_{ir}\})\,l_i(\lfloor z_{ir}\rfloor)
                   + \{z_{ir}\}\,l_i(\lfloor z_{ir}\rfloor + 1)\bigr),

with :math:`z_{ir} = a_i + b_i r`; the first one serves all rows. The adjoint has the same weights:
voxel z of the line takes from row r the share :math:`\max(0, 1 - |z_{ir} - z|)`. Both steps are
weighted sums of rows of a table, whose columns are the images of the batch under the symmetries of
:mod:`~medscore.operators.ct.cone.symmetry`; the work is done in slabs of planes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from medscore.operators.ct.cone.sheet import Layout, Sheet, sheet
from medscore.operators.ct.cone.symmetry import IDENTITY, SWAP, Element, Plan
from medscore.operators.ct.cone.voxel_rays import VoxelRays

SLAB = 2**25
"""Bytes of a slab of planes, which stays in the last cache of a processor."""


@dataclass(frozen=True, eq=False)
class Upright:
    """The projector of a scan.

    Attributes:
        rays: the rays.
        plan: their symmetries.
        memory: largest size in bytes of the temporary arrays.
    """

    rays: VoxelRays
    plan: Plan
    memory: int
    _kept: dict[Hashable, Any] = field(default_factory=dict)

    @property
    def parts(self) -> int:
        """Number of halves of the volume that are projected together: 2 with reflection, else 1."""
        return 2 if self.plan.fold else 1

    @property
    def channels(self) -> int:
        """Number of images of a volume that are projected together."""
        return len(self.plan.elements) * self.parts

    @property
    def layout(self) -> Layout:
        """The lines of voxels, and the rows that are projected."""
        n, rows = self.rays.grid.shape[0], self.rays.rows
        if self.plan.fold:
            return Layout((n - 1) // 2, 0, n - (n - 1) // 2 + 2, range(rows // 2, rows))
        return Layout(0, 1, n + 3, range(rows))

    def project(self, x: Tensor) -> Tensor:
        """Projections (batch, views, rows, columns).

        Args:
            x: volumes (batch, Z, Y, X).
        """
        y = x.new_zeros(len(x), len(self.rays.source), self.rays.rows, self.rays.first.shape[1])
        for own in self._batches(len(x)):
            self._project(x[own], y[own])
        return y

    def backproject(self, y: Tensor) -> Tensor:
        """The adjoint of :meth:`project`, (batch, Z, Y, X).

        Args:
            y: projections (batch, views, rows, columns).
        """
        x = y.new_zeros(len(y), *self.rays.grid.shape)
        for own in self._batches(len(y)):
            self._backproject(y[own], x[own])
        return x

    def _batches(self, count: int) -> list[slice]:
        step = max(1, 32 // self.channels)
        return [slice(k, min(k + step, count)) for k in range(0, count, step)]

    def _project(self, x: Tensor, y: Tensor) -> None:
        upright = x.permute(2, 3, 1, 0).contiguous()  # (Y, X, Z, batch)
        samples = [x.new_zeros(0)] * len(self.plan.seeds)
        for elements, turns in self._tables():
            for planes in self.slabs(elements, len(x)):
                table = self._table(upright, elements, planes)
                for turn, order in turns:
                    for k, seed in enumerate(self.plan.seeds):
                        own = self._sheet(seed, turn, planes, x)
                        if own is None:
                            continue
                        found = own.project(table).unflatten(-1, table.shape[3:])
                        if not samples[k].numel():
                            rows = len(self.layout.rows)
                            samples[k] = x.new_zeros(y.shape[-1], rows, *found.shape[2:])
                        samples[k].index_add_(0, own.columns, found[..., order])
        for k, seed in enumerate(self.plan.seeds):
            if samples[k].numel():
                self._scatter(samples[k] * self._lengths(seed, x), k, y)

    def _backproject(self, y: Tensor, x: Tensor) -> None:
        seeds = range(len(self.plan.seeds))
        samples = [self.gather(y, k) * self._lengths(self.plan.seeds[k], y) for k in seeds]
        upright = x.new_zeros(*x.shape[2:], x.shape[1], x.shape[0])
        for elements, turns in self._tables():
            for planes in self.slabs(elements, len(x)):
                table = self.empty_table(upright, elements, planes)
                for turn, order in turns:
                    back = torch.tensor(order).argsort()
                    for k in seeds:
                        own = self._sheet(self.plan.seeds[k], turn, planes, x)
                        if own is not None:
                            chosen = samples[k].index_select(0, own.columns)[..., back]
                            own.backproject(chosen.flatten(2), table)
                self.add_table(upright, elements, planes, table)
        x += upright.permute(3, 2, 0, 1)

    def _tables(self) -> Iterator[tuple[tuple[Element, ...], list[tuple[Element, list[int]]]]]:
        """Images of the volume whose rows are planes of the main axis; and for each, symmetries
        that map rays to such whose main axis it is, with the order of the channels."""
        group = self.plan.elements
        swap = next((g for g in group if g.swap), SWAP)
        swapped = tuple(g.after(swap) for g in group)
        same = list(range(len(group)))
        if set(swapped) == set(group):
            yield group, [(IDENTITY, same), (swap, [group.index(g) for g in swapped])]
        else:
            yield group, [(IDENTITY, same)]
            yield swapped, [(swap, same)]

    def slabs(self, elements: tuple[Element, ...], batch: int) -> Iterator[range]:
        """Planes whose tables are in memory at the same time.

        Args:
            elements: the symmetries.
            batch: number of volumes.
        """
        _, height, width = self.rays.grid.shape
        planes, across = (width, height) if elements[0].swap else (height, width)
        numbers = across * self.layout.length * self.channels * batch
        room = min(SLAB, self.memory // 2) // 4
        step = max(1, min(planes, room // numbers))
        for start in range(0, planes, step):
            yield range(start, min(start + step, planes))

    def empty_table(self, upright: Tensor, elements: tuple[Element, ...], planes: range) -> Tensor:
        """Zeros for some planes: (planes, across, lines, batch, parts, symmetries).

        Args:
            upright: the volumes (Y, X, Z, batch).
            elements: the symmetries.
            planes: the planes.
        """
        across = upright.shape[0 if elements[0].swap else 1]
        shape = len(planes), across, self.layout.length, upright.shape[3], self.parts, len(elements)
        return upright.new_zeros(shape)

    def _table(self, upright: Tensor, elements: tuple[Element, ...], planes: range) -> Tensor:
        """The planes of all images: (planes, across, lines, batch, parts, symmetries)."""
        table = self.empty_table(upright, elements, planes)
        for k, g in enumerate(elements):
            for part, (lines, place) in enumerate(self._line_parts(upright, g, planes)):
                lines = lines.flip(2) if part else lines
                table[:, :, place, :, part, k] = g.image(lines)
        return table

    def add_table(
        self, upright: Tensor, elements: tuple[Element, ...], planes: range, table: Tensor
    ) -> None:
        """Add to volumes what the planes of their images are to them.

        Args:
            upright: the volumes (Y, X, Z, batch).
            elements: the symmetries.
            planes: the planes.
            table: the planes, as :meth:`empty_table` makes them.
        """
        for k, g in enumerate(elements):
            for part, (lines, place) in enumerate(self._line_parts(upright, g, planes)):
                own = g.preimage(table[:, :, place, :, part, k])
                lines += own.flip(2) if part else own

    def _line_parts(
        self, upright: Tensor, g: Element, planes: range
    ) -> Iterator[tuple[Tensor, slice]]:
        """The voxels of the planes of x o g, of the upper and of the lower half, as views of
        ``upright``; and their places on the lines of the table."""
        block = upright[_place(g, upright, planes)]
        lines = self.layout
        for part in range(self.parts):
            first = lines.first
            own = block[:, :, : block.shape[2] - first] if part else block[:, :, first:]
            yield own, slice(lines.zeros, lines.length - 2)

    def _sheet(self, view: int, turn: Element, planes: range, like: Tensor) -> Sheet | None:
        """The rays of some columns; those of a small scan are kept, where they cost most."""
        key = ("sheet", view, turn, planes, like.dtype, like.device)
        if key not in self._kept:
            made = sheet(self.rays, self.layout, view, turn, planes, like)
            if len(self._kept) * self.rays.first[0].numel() * len(planes) > self.memory // 64:
                return made
            self._kept[key] = made
        found: Sheet | None = self._kept[key]
        return found

    def _lengths(self, view: int, like: Tensor) -> Tensor:
        """The lengths of the rays between two planes, (columns, rows, 1, 1, 1)."""
        aside = self.rays.first[view, :, 1:].abs()
        main = 1 + (aside[:, 1] > aside[:, 0]).long().expand(self.rays.rows, -1)
        found = self.rays.lengths(view, main)[self.layout.rows.start :].mT.contiguous()
        return found.to(like)[..., None, None, None]

    def _halves(self, rows: int) -> list[tuple[slice, slice]]:
        """For the upper half and its reflection: rows of the samples and of the view."""
        if not self.plan.fold:
            return [(slice(0, rows), slice(0, rows))]
        half, odd = rows // 2, rows % 2
        return [
            (slice(0, rows - half), slice(half, rows)),
            (slice(odd, rows - half), slice(0, half)),
        ]

    def _scatter(self, samples: Tensor, k: int, y: Tensor) -> None:
        """Write (columns, rows, batch, parts, symmetries) to the views of seed ``k``."""
        moved = samples.permute(3, 4, 2, 1, 0)
        for part, (mine, theirs) in enumerate(self._halves(y.shape[2])):
            for g, element in enumerate(self.plan.elements):
                view = self.plan.images[k][g]
                if view >= 0:
                    own = moved[part, g][:, mine]
                    own = own if element.rotation else own.flip(-1)
                    y[:, view, theirs] = own.flip(1) if part else own

    def gather(self, y: Tensor, k: int) -> Tensor:
        """The views of a seed under all symmetries: (columns, rows, batch, parts, symmetries).

        It is the adjoint of writing the samples to the views.

        Args:
            y: projections (batch, views, rows, columns), of any number of columns.
            k: index of the seed.
        """
        batch, _, rows, columns = y.shape
        symmetries = len(self.plan.elements)
        moved = y.new_zeros(self.parts, symmetries, batch, len(self.layout.rows), columns)
        for part, (mine, theirs) in enumerate(self._halves(rows)):
            for g, element in enumerate(self.plan.elements):
                view = self.plan.images[k][g]
                if view >= 0:
                    own = y[:, view, theirs]
                    own = own if element.rotation else own.flip(-1)
                    moved[part, g][:, mine] = own.flip(1) if part else own
        return moved.permute(4, 3, 2, 0, 1).contiguous()


def _place(g: Element, upright: Tensor, planes: range) -> tuple[slice, ...]:
    """Where the planes of x o g lie in x."""
    sign = g.columns if g.swap else g.rows
    n = upright.shape[1 if g.swap else 0]
    own = slice(planes.start, planes.stop) if sign > 0 else slice(n - planes.stop, n - planes.start)
    return (slice(None), own) if g.swap else (own,)

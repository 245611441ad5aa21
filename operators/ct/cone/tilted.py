"""Joseph's method for any poses: all samples of a plane by one bilinear interpolation.

The adjoint of the interpolation is its own derivative, which PyTorch knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from medscore.operators.ct.cone.voxel_rays import VoxelRays

PIECE = 2**21
"""Number of samples that are taken at a time, at most."""

BYTES = 64
"""Bytes of temporary arrays for each sample in float64."""


@dataclass(frozen=True, eq=False)
class Tilted:
    """The projector of a scan.

    Attributes:
        rays: the rays.
        memory: largest size in bytes of the temporary arrays.
    """

    rays: VoxelRays
    memory: int

    def project(self, x: Tensor) -> Tensor:
        """Projections (batch, views, rows, columns).

        Args:
            x: volumes (batch, Z, Y, X).
        """
        views, columns = self.rays.first.shape[:2]
        y = x.new_zeros(len(x), views, self.rays.rows * columns)
        for view, own, axis, planes, grid, length in self._pieces(x):
            table = _planes(x, axis)[planes.start : planes.stop]
            found = torch.nn.functional.grid_sample(table, grid, align_corners=False)
            y[:, view, own] += length * found[..., 0].sum(0)
        return y.reshape(*y.shape[:2], self.rays.rows, columns)

    def backproject(self, y: Tensor) -> Tensor:
        """The adjoint of :meth:`project`, (batch, Z, Y, X).

        Args:
            y: projections (batch, views, rows, columns).
        """
        x = y.new_zeros(len(y), *self.rays.grid.shape)
        flat = y.flatten(2)
        for view, own, axis, planes, grid, length in self._pieces(y):
            table = _planes(x, axis)[planes.start : planes.stop]
            samples = (length * flat[:, view, own]).expand(len(planes), -1, -1)[..., None]
            back, _ = torch.ops.aten.grid_sampler_2d_backward(
                samples.contiguous(), table.contiguous(), grid, 0, 0, False, [True, False]
            )
            table += back
        return x

    def _pieces(self, like: Tensor) -> Iterator[tuple[int, Tensor, int, range, Tensor, Tensor]]:
        """View, indices of rays with one main axis, that axis, planes, where the rays cross them
        for ``grid_sample``, and the length of the rays between two planes."""
        shape = torch.tensor(self.rays.grid.shape, dtype=torch.float64)
        room = max(1, min(PIECE, self.memory // BYTES) // max(1, len(like)))
        for view in range(len(self.rays.source)):
            towards = self.rays.directions(view)
            main = towards.abs().argmax(-1)
            lengths = self.rays.lengths(view, main).flatten()
            towards, main = towards.reshape(-1, 3), main.flatten()
            for axis in range(3):
                every = (main == axis).nonzero()[:, 0]
                others = [a for a in (2, 1, 0) if a != axis]
                n = self.rays.grid.shape[axis]
                step = max(1, min(n, room // max(1, len(every))))
                for own in every.split(max(1, room)):
                    for start in range(0, n, step):
                        planes = range(start, min(start + step, n))
                        at = torch.arange(start, planes.stop, dtype=torch.float64) - (n - 1) / 2
                        t = (at[:, None] - self.rays.source[view, axis]) / towards[own, axis]
                        place = (
                            self.rays.source[view, others] + t[..., None] * towards[own][:, others]
                        )
                        place = torch.where(t[..., None] > 0, 2 * place / shape[others], -9.0)
                        grid = place[:, :, None].to(like)
                        yield view, own.to(like.device), axis, planes, grid, lengths[own].to(like)


def _planes(x: Tensor, axis: int) -> Tensor:
    """The planes of an axis, (planes, batch, ...), as a view."""
    return x.movedim(1 + axis, 0)

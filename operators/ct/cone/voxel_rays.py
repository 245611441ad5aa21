r"""The rays of a cone-beam scan in voxels from the middle of the grid, along (z, rows, columns).

A ray of pixel (r, c) of a view with source s is :math:`s + t\,(e_c + r f)`, t > 0, with the vector
e from the source to the first pixel of the column and f from a pixel to the next in its column;
t = 1 on the detector. Joseph's method samples it in the planes of its main axis, the one along
which it passes most voxels, and weights each sample by the length in mm between two planes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medscore.operators.ct.cone.geometry import ConeGeometry, VoxelGrid


@dataclass(frozen=True, eq=False)
class VoxelRays:
    """Rays in voxels, float64.

    Attributes:
        grid: the volume.
        source: the sources s, (views, 3).
        first: the vectors e, (views, columns, 3).
        step: the vectors f, (views, 3).
        rows: number of rows.
    """

    grid: VoxelGrid
    source: Tensor
    first: Tensor
    step: Tensor
    rows: int

    @property
    def upright(self) -> bool:
        """True if the columns are along z and no ray is steeper than its main axis in a slice."""
        if bool(self.step[:, 1:].abs().amax() > 1e-9 * self.step.abs().amax()):
            return False
        last = self.first[..., 0] + (self.rows - 1) * self.step[:, :1]
        height = torch.maximum(self.first[..., 0].abs(), last.abs())
        return bool((height <= self.first[..., 1:].abs().amax(-1)).all())

    def lengths(self, view: int, main: Tensor) -> Tensor:
        """Length in mm of the rays between two planes, (rows, columns).

        Args:
            view: the view.
            main: main axis of every ray, (rows, columns).
        """
        towards = self.directions(view)
        spacing = torch.tensor(self.grid.spacing, dtype=torch.float64)
        along = torch.gather(towards, -1, main[..., None])[..., 0]
        found: Tensor = (towards * spacing).norm(dim=-1) / along.abs()
        return found

    def directions(self, view: int) -> Tensor:
        """The vectors from the source to the pixels of a view, (rows, columns, 3)."""
        r = torch.arange(self.rows, dtype=torch.float64)[:, None, None]
        return self.first[view] + r * self.step[view]


def voxel_rays(geometry: ConeGeometry) -> VoxelRays:
    """The rays of a scan.

    Args:
        geometry: the scan.
    """
    grid = geometry.grid
    scale = torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)
    scale = scale / torch.tensor(grid.spacing, dtype=torch.float64)

    def voxels(vector: Tensor) -> Tensor:
        return vector.flip(-1) * scale

    centre = torch.tensor(grid.centre, dtype=torch.float64)
    first = geometry.column_middles() - geometry.source[:, None]
    first = first - geometry.middle[0] * geometry.v[:, None]
    return VoxelRays(
        grid, voxels(geometry.source - centre), voxels(first), voxels(geometry.v), geometry.rows
    )

r"""Cone-beam scans: a grid of voxels, and where the source and the detector are in every view.

World axes x, y, z are right-handed, in mm. Voxel (k, i, j) of a volume (Z, Y, X) with spacing
:math:`(s_z, s_y, s_x)` and centre c is at

.. math:: x = c_x + (j - \tfrac{X-1}2) s_x, \quad y = c_y + (\tfrac{Y-1}2 - i) s_y, \quad
          z = c_z + (k - \tfrac{Z-1}2) s_z :

rows run downwards, so that every slice is an image of :mod:`medscore.operators.ct.geometry`, and
slices run upwards. In a view with source s, detector centre d and the vectors u and v from a pixel
to the next in its row and in its column, pixel (r, c) of a flat detector is at

.. math:: p = d + (c - \tfrac{C-1}2)\,u + (r - \tfrac{R-1}2)\,v .

A curved detector is a cylinder through d whose axis passes through the source along v; there the
columns follow each other at the arc length |u|, and u is the tangent at d.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from medscore.operators.grid import OperatorError
from medscore.types import AnyFloat

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class VoxelGrid:
    """A box of voxels.

    Attributes:
        shape: number of voxels (Z, Y, X).
        spacing: voxel spacing (z, y, x) in mm.
        centre: position (x, y, z) of the middle of the box in mm.

    Raises:
        OperatorError: a number is not a count, not positive, or not finite.
    """

    shape: tuple[int, int, int]
    spacing: Triple
    centre: Triple = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        for name in (one.name for one in fields(self)):
            if len(getattr(self, name)) != 3:
                raise OperatorError(f"`{name}` is {getattr(self, name)}, expected 3 numbers")
        if any(n != int(n) or n < 1 for n in self.shape):
            raise OperatorError(f"`shape` is {self.shape}, expected 3 positive integers (Z, Y, X)")
        if not all(0 < s < math.inf for s in self.spacing):
            raise OperatorError(
                f"`spacing` is {self.spacing} mm, expected 3 positive numbers (z, y, x)"
            )
        if not all(math.isfinite(c) for c in self.centre):
            raise OperatorError(
                f"`centre` is {self.centre} mm, expected 3 finite numbers (x, y, z)"
            )

    @property
    def half(self) -> Tensor:
        """Half the lengths of the box along x, y and z in mm, (3,) float64."""
        half = [n * s / 2 for n, s in zip(self.shape, self.spacing, strict=True)]
        return torch.tensor(half[::-1], dtype=torch.float64)

    @property
    def corners(self) -> Tensor:
        """The corners of the box in mm, (8, 3) float64."""
        signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3)
        return torch.tensor(self.centre, dtype=torch.float64) + signs * self.half


@dataclass(frozen=True, eq=False)
class ConeGeometry:
    """A list of source and detector poses, one for each view.

    Rays are half lines from the source through the middle of a pixel; they do not end there.

    Attributes:
        grid: the volume.
        source: position of the source in mm, (views, 3).
        detector: position of the middle of the detector in mm, (views, 3).
        u: vector from a pixel to the next one in its row in mm, (views, 3).
        v: vector from a pixel to the next one in its column in mm, (views, 3).
        rows: number of detector rows R.
        columns: number of detector columns C.
        detector_shape: ``flat``, or ``curved`` with the source on its axis, along v.

    Raises:
        OperatorError: arrays of other shapes, NaN or infinity, a detector that is seen edge-on or
            has no area, a source inside the volume, or a view whose rays all miss the volume.
    """

    grid: VoxelGrid
    source: Tensor = field(repr=False)
    detector: Tensor = field(repr=False)
    u: Tensor = field(repr=False)
    v: Tensor = field(repr=False)
    rows: int
    columns: int
    detector_shape: str = "flat"

    def __post_init__(self) -> None:
        for name in ("rows", "columns"):
            value = getattr(self, name)
            if value != int(value) or value < 1:
                raise OperatorError(f"`{name}` is {value}, expected a positive integer")
        if self.detector_shape not in ("flat", "curved"):
            raise OperatorError(
                f"`detector_shape` is {self.detector_shape!r}, expected flat or curved"
            )
        for name in ("source", "detector", "u", "v"):
            value = torch.as_tensor(getattr(self, name), dtype=torch.float64).cpu()
            if value.ndim != 2 or value.shape[1] != 3 or not len(value):
                raise OperatorError(f"`{name}` has shape {tuple(value.shape)}, expected (views, 3)")
            if name != "source" and value.shape != self.source.shape:
                raise OperatorError(
                    f"`{name}` has {len(value)} views, but `source` has {len(self.source)}"
                )
            if not bool(value.isfinite().all()):
                raise OperatorError(f"`{name}` contains NaN or infinity")
            object.__setattr__(self, name, value)
        self._check_detector()
        self._check_volume()

    @property
    def views(self) -> int:
        """Number of views."""
        return len(self.source)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the projections, (views, rows, columns)."""
        return self.views, self.rows, self.columns

    @property
    def middle(self) -> tuple[float, float]:
        """Row and column of the middle of the detector, counted from the first pixel's."""
        return (self.rows - 1) / 2, (self.columns - 1) / 2

    def column_middles(self) -> AnyFloat:
        """Positions of the middle row of every column in mm, (views, columns, 3) float64.

        Pixel (r, c) is at ``column_middles()[:, c] + (r - (rows - 1) / 2) * v``.
        """
        step = torch.arange(self.columns, dtype=torch.float64) - self.middle[1]
        if self.detector_shape == "flat":
            return self.detector[:, None] + step[:, None] * self.u[:, None]
        ahead, across, up = self._cylinder()
        radius = ahead.norm(dim=1)[:, None, None]
        angle = step[:, None] * (self.u.norm(dim=1)[:, None, None] / radius)
        along = angle.cos() * ahead[:, None] + angle.sin() * radius * across[:, None]
        found: Tensor = (self.source + up)[:, None] + along
        return found

    def locate(self, points: Tensor) -> tuple[AnyFloat, AnyFloat, AnyFloat]:
        """Where points are projected.

        Args:
            points: positions in mm, (points, 3).

        Returns:
            Row, column, and the distance from the source along the central ray in units of the
            detector's, each (views, points) float64. Rows and columns count from the middle of
            the first pixel; they are meaningful where the distance is positive.
        """
        seen = points.double()[None] - self.source[:, None]
        row, column = self.middle
        if self.detector_shape == "flat":
            frame = torch.stack([self.u, self.v, self.detector - self.source], -1)
            a, b, depth = torch.linalg.solve(frame, seen.mT).unbind(1)
            return b / depth + row, a / depth + column, depth
        ahead, across, up = self._cylinder()
        radius = ahead.norm(dim=1)[:, None]
        forward = (seen @ (ahead / radius)[..., None])[..., 0]
        aside = (seen @ across[..., None])[..., 0]
        pitch_u, pitch_v = (w.norm(dim=1)[:, None] for w in (self.u, self.v))
        upright = (seen @ (self.v / pitch_v)[..., None])[..., 0]
        centre = ((up * self.v).sum(1)[:, None]) / pitch_v
        height = upright * radius / torch.hypot(forward, aside) - centre
        return (
            height / pitch_v + row,
            torch.atan2(aside, forward) * radius / pitch_u + column,
            (forward / radius),
        )

    def select(self, views: list[int]) -> ConeGeometry:
        """The scan of some views.

        Args:
            views: their indices, in this order.
        """
        return replace(
            self,
            source=self.source[views],
            detector=self.detector[views],
            u=self.u[views],
            v=self.v[views],
        )

    def _cylinder(self) -> tuple[Tensor, Tensor, Tensor]:
        """The vector from the axis of a curved detector to d, the direction of u, and the way from
        the source along the axis to the height of d; each (views, 3)."""
        axis = self.v / self.v.norm(dim=1, keepdim=True)
        seen = self.detector - self.source
        up = (seen * axis).sum(1, keepdim=True) * axis
        return seen - up, self.u / self.u.norm(dim=1, keepdim=True), up

    def _check_detector(self) -> None:
        seen = self.detector - self.source
        volume = torch.linalg.det(torch.stack([self.u, self.v, seen], -1)).abs()
        size = self.u.norm(dim=1) * self.v.norm(dim=1) * seen.norm(dim=1)
        flat = ~(volume > 1e-6 * size)
        if bool(flat.any()):
            view = int(flat.nonzero()[0])
            raise OperatorError(
                f"in view {view} `u`, `v` and the way from `source` to `detector` lie in a plane: "
                "no ray meets the detector in a single point",
                hint="u and v must span the detector, and the source must lie outside its plane",
            )
        if self.detector_shape == "curved":
            ahead, across, _ = self._cylinder()
            skew = torch.stack([(ahead * across).sum(1) / ahead.norm(dim=1),
                                (across * self.v).sum(1) / self.v.norm(dim=1)]).abs()  # fmt: skip
            if float(skew.max()) > 1e-6:
                raise OperatorError(
                    "`u` of a curved detector is no tangent at its middle",
                    hint="make u perpendicular to v and to the way from the source",
                )

    def _check_volume(self) -> None:
        away = (self.source - torch.tensor(self.grid.centre, dtype=torch.float64)).abs()
        inside = (away <= self.grid.half).all(1)
        if bool(inside.any()):
            view = int(inside.nonzero()[0])
            raise OperatorError(
                f"the source of view {view}, at {tuple(self.source[view].tolist())} mm, lies "
                "inside the volume",
                hint="check the units, or make the volume smaller",
            )
        row, column, depth = self.locate(self.grid.corners)
        beside = torch.zeros(self.views, dtype=torch.bool)
        for place, count in ((row, self.rows), (column, self.columns)):
            beside |= (place.amax(1) < -0.5) | (place.amin(1) > count - 0.5)
        missed = (depth <= 0).all(1) | (beside & (depth > 0).all(1))
        if bool(missed.any()):
            view = int(missed.nonzero()[0])
            raise OperatorError(
                f"all rays of view {view} miss the volume",
                hint="check the signs and the order of the axes of the poses",
            )

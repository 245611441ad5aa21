r"""Cone-beam CT: T are the line integrals of all views, Lambda selects the measured rays."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor

from medscore.errors import MedscoreWarning
from medscore.operators.autograd import outside, remember
from medscore.operators.base import Operator
from medscore.operators.ct.cone.feldkamp import (
    cone_cosines,
    cone_filter,
    fan_of,
    feldkamp,
    filtered_rows,
)
from medscore.operators.ct.cone.geometry import ConeGeometry
from medscore.operators.ct.cone.orbit import orbit_of
from medscore.operators.ct.cone.projector import MEMORY, backproject, cost, project
from medscore.operators.ct.fbp import Filter, Window
from medscore.operators.ct.ray_gram import cone_gram
from medscore.operators.ct.views import onto_all_views, seen_views
from medscore.operators.gram import Gram
from medscore.operators.grid import OperatorError
from medscore.operators.linalg import chebyshev, largest_eigenvalue
from medscore.operators.noise import NoiseModel
from medscore.types import Projections, Volumes

REFINEMENTS = 4
"""Chebyshev steps after the algorithm of Feldkamp in ``T_inv``."""

SMALLEST_EIGENVALUE = 0.2
"""Lower end of the Chebyshev interval; components below it are the loss of ``T_inv``: the corners
of the frequency square, and what a circular orbit does not see off its plane."""

POWER_STEPS = 12
"""Power iterations for the upper end of the Chebyshev interval."""


class ConeBeam(Operator):
    """Line integrals (batch, 1, views, rows, columns) of volumes (batch, 1, Z, Y, X).

    A warning is given if the detector does not cover the volume.

    Args:
        geometry: the poses of all views; lengths are in mm, so volumes in 1/mm have dimensionless
            line integrals.
        mask: the measured rays: (views, 1, 1) or (views, rows, columns), or one mask for each
            sample, (batch, 1, views, 1 or rows, 1 or columns).
        noise: noise of the scan.
        memory: largest size in bytes of the temporary arrays of a projection.

    Raises:
        OperatorError: the mask does not fit the geometry.
    """

    surjective = False

    def __init__(
        self,
        geometry: ConeGeometry,
        mask: Tensor,
        noise: NoiseModel | None = None,
        *,
        memory: int = MEMORY,
    ) -> None:
        super().__init__(
            mask,
            image_shape=(1, *geometry.grid.shape),
            grid_shape=(1, *geometry.shape),
            noise=noise,
        )
        _warn_if_truncated(geometry)
        self.geometry, self.memory = geometry, memory
        self.measured = self._views().any(0)
        """Views with any measured ray in any sample, (views,) bool."""
        self._rows = self.measured.nonzero()[:, 0]
        rows: tuple[int, ...] = tuple(self._rows.tolist())
        few = len(rows) < geometry.views and cost(geometry, rows) < cost(geometry)
        self._few = rows if few else None
        """The measured views, if they take less time than all, which may have more symmetries."""

    def __repr__(self) -> str:
        g, grid = self.geometry, self.geometry.grid
        size = "x".join(map(str, grid.shape))
        spacing = "x".join(f"{s:g}" for s in grid.spacing)
        noise = repr(self.noise_model)
        return (
            f"ConeBeam({size} voxels of {spacing} mm, {len(self._rows)} of {g.views} views, "
            f"{g.detector_shape} detector of {g.rows}x{g.columns} pixels"
            f"{'' if noise == 'Noiseless()' else f', {noise}'})"
        )

    def settings(self) -> dict[str, Any]:
        return {"geometry": self.geometry, "mask": self._mask, "noise": self.noise_model}

    def T(self, x: Volumes) -> Projections:
        return project(x, self.geometry, memory=self.memory)

    def T_adjoint(self, z: Projections) -> Volumes:
        return backproject(z, self.geometry, memory=self.memory)

    def forward(self, x: Volumes) -> Projections:
        if self._few is None:
            return super().forward(x)
        self._count[0] += 1
        rays = project(x, self.geometry, views=self._few, memory=self.memory)
        z = onto_all_views(rays, self._rows, self.geometry.views, -3)
        return self.mask(z) * z

    def adjoint(self, y: Projections) -> Volumes:
        if self._few is None:
            return super().adjoint(y)
        self._count[0] += 1
        rays = (self.mask(y) * y).index_select(-3, self._rows.to(y.device))
        return backproject(rays, self.geometry, views=self._few, memory=self.memory)

    def gram(self, y: Projections) -> Gram | None:
        """That of fan beams on a circular orbit; None for other poses."""

        def make() -> Gram | None:
            try:
                _, fan, order = fan_of(self.geometry)
            except OperatorError:
                return None
            one = y.new_ones(1, *self.image_shape)
            lengths = project(one, self.geometry, memory=self.memory)
            seen = self._views()[:, order]
            return cone_gram(fan, self.geometry.grid, self.mask(lengths) * lengths, seen)

        found: Gram | None = remember(self._cache, ("gram", y.dtype, y.device), make)
        return found

    def T_inv(self, z: Projections) -> Volumes:
        r"""The algorithm of Feldkamp, refined by a fixed polynomial in the normal operator.

        With the weighted ramp filter F of :mod:`~medscore.operators.ct.cone.feldkamp` and
        M = T^T F T, x_0 = T^T F z solves M x = T^T F z up to the deviation of M from the identity:
        the adjoint of Joseph's method weights a ray by U^-2. Chebyshev iteration on the spectrum
        [0.2, lambda_max] reduces that error by the same polynomial for every z.

        Raises:
            OperatorError: the poses are no circular orbit.
        """
        try:
            orbit_of(self.geometry)
        except OperatorError as error:
            raise OperatorError(
                f"T_inv is not known for {self!r}, which is no circular orbit: use a method that "
                "needs only A and its adjoint, such as diffpir, dds or dps"
            ) from error
        high = 1.05 * outside(lambda: _largest_eigenvalue(self.geometry, self.memory))
        return chebyshev(
            lambda x: self.filtered_backprojection(self.T(x)),
            self.filtered_backprojection(z),
            low=SMALLEST_EIGENVALUE,
            high=high,
            steps=REFINEMENTS,
        )

    def filtered_backprojection(self, z: Projections) -> Volumes:
        """T^T F z with the ramp filter F over all views, the first approximation of T_inv.

        Args:
            z: projections of all views (batch, 1, views, rows, columns).
        """
        return _filtered_backprojection(z, self.geometry, self.memory)

    def fbp(self, y: Projections, window: Window = "ram-lak") -> Volumes:
        """The algorithm of Feldkamp on the measured views, the classical reconstruction.

        Each view is weighted by the angle that it represents, each ray by how often it is measured.
        If the masks of the samples differ, each sample has its own views.

        Args:
            y: measurements (batch, 1, views, rows, columns).
            window: apodisation window of the ramp filter.

        Raises:
            OperatorError: the poses are no circular orbit, or rays are missing that the algorithm
                needs: the arc is shorter than half a turn and the fan angle, or a displaced
                detector leaves out a part of the volume that no opposite view shows.
        """
        seen, y = self._views(), self.mask(y) * y
        own = seen if len(seen) == len(y) else self.measured.expand(len(y), -1)
        if bool((own == own[:1]).all()):
            return self._fbp(y, own[0], window)
        return torch.cat([self._fbp(y[k : k + 1], own[k], window) for k in range(len(y))])

    def _fbp(self, y: Tensor, measured: Tensor, window: Window) -> Tensor:
        rows = measured.nonzero()[:, 0]
        scan = outside(lambda: self.geometry.select(rows.tolist()))
        taken = y[:, 0].index_select(1, rows.to(y.device))
        return feldkamp(taken, scan, window=window, memory=self.memory)[:, None]

    def _views(self) -> Tensor:
        """The views with any measured ray: (samples, views), or (1, views) if they share a mask."""
        return seen_views(self._mask, self.geometry.views, 2)


@lru_cache(maxsize=8)
def _adjoint_filter(geometry: ConeGeometry) -> tuple[Filter, Tensor]:
    """The ramp filter for back-projection by the adjoint, and the cosines of the cone angle."""
    orbit, grid = orbit_of(geometry), geometry.grid
    ramp, fan = cone_filter(geometry, partial=True)
    flat = geometry.detector_shape == "flat"
    after = fan.fan_angles.cos() if flat else torch.ones_like(fan.fan_angles)
    scale = orbit.source_distance * orbit.pitch[0] / (orbit.detector_distance * prod(grid.spacing))
    ramp = replace(ramp, margin=(0, 0), after=after, scale=scale, adjoint=True)
    return ramp, cone_cosines(geometry, orbit)


def _filtered_backprojection(z: Tensor, geometry: ConeGeometry, memory: int) -> Tensor:
    ramp, cosines = outside(lambda: _adjoint_filter(geometry))
    weights = cosines.to(z)
    filtered = filtered_rows((weights * z).flatten(0, -4), ramp).reshape(z.shape)
    return backproject(weights * filtered, geometry, memory=memory)


@lru_cache(maxsize=8)
def _largest_eigenvalue(geometry: ConeGeometry, memory: int) -> float:
    """lambda_max of M = T^T F T, by power iteration from a fixed start."""
    start = torch.randn(1, *geometry.grid.shape, generator=torch.Generator().manual_seed(0))
    found = largest_eigenvalue(
        lambda v: _filtered_backprojection(project(v, geometry, memory=memory), geometry, memory),
        start,
        steps=POWER_STEPS,
    )
    return float(found)


def _warn_if_truncated(geometry: ConeGeometry) -> None:
    """Warn, with their share, if some voxels are not visible in every view.

    Where the source moves along z, as on a helix, a voxel may lie above or below the detector in
    some views, but not in all.
    """
    grid = geometry.grid
    ends = [torch.linspace(-1, 1, min(2 * n - 1, 15), dtype=torch.float64) for n in grid.shape]
    ends = [(1 - 1 / n) * e if n > 1 else 0 * e for e, n in zip(ends, grid.shape, strict=True)]
    z, y, x = torch.meshgrid(*ends, indexing="ij")
    centre = torch.tensor(grid.centre, dtype=torch.float64)
    points = centre + grid.half * torch.stack([x, y, z], -1).reshape(-1, 3)
    step = max(1, geometry.views // 64)
    row, column, depth = geometry.select(list(range(0, geometry.views, step))).locate(points)
    level = (row >= -0.5) & (row <= geometry.rows - 0.5)
    seen = (column >= -0.5) & (column <= geometry.columns - 0.5) & (depth > 0)
    height = geometry.source[:, 2]
    if float(height.max() - height.min()) > grid.spacing[0]:
        whole = (seen | ~level).all(0) & level.any(0)
    else:
        whole = (seen & level).all(0)
    share = 1 - float(whole.double().mean())
    if share >= 5e-4:
        warnings.warn(
            f"about {100 * share:.1f} % of the volume lie outside the detector in some views, and "
            "their attenuation is missing there",
            MedscoreWarning,
            stacklevel=3,
        )

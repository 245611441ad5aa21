r"""Cone-beam CT of a volume on a circular orbit.

The source turns once about the axis through the middle of the volume, along its slices' normal. The
flat detector opposite to it is as large as the shadow of the volume, and a pixel of it sees a voxel
at the axis. As in :mod:`~medscore.measurements.object_scan`, noisy data are those of an object on a
finer grid, and each reading is the mean intensity of K x K thin rays,

.. math:: y = -\log \frac{1}{K^2} \sum_k e^{-l_k} .
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from medscore.datasets.volume import AIR
from medscore.errors import MedscoreError
from medscore.hounsfield import hu_to_mu
from medscore.io.budget import memory_budget
from medscore.measurements.choices import Choices, Grid, Scan, check_views
from medscore.measurements.measurement import ATTENUATION
from medscore.measurements.refined import refined
from medscore.measurements.square import noise_of_object, plain
from medscore.operators.ct.cone.beam import ConeBeam
from medscore.operators.ct.cone.geometry import ConeGeometry, VoxelGrid
from medscore.operators.ct.cone.orbit import circular_orbit
from medscore.operators.ct.cone.projector import project

RAYS = 2
"""Thin rays along each side of a detector pixel."""

MAGNIFICATION = 1.5
"""Distance of the detector relative to that of the axis. Since a pixel sees a voxel at the axis, it
changes the size of the detector, and not the rays."""

CLOSE = 0.9
"""Largest radius of the volume about the axis, relative to the distance of the source."""

AT_A_TIME = 4
"""Views that are simulated at a time."""

ARRAYS = 4
"""Number of arrays of the object's size, in float64, that a simulation keeps in memory."""


def cone_ct(grid: Grid, c: Choices) -> Scan:
    """Cone-beam CT: ``views`` equally spaced poses over 360 degrees.

    Args:
        grid: the volume's grid.
        c: parameters of the scan.

    Raises:
        MedscoreError: the number of views, the distance or the refinement is invalid.
    """
    geometry = orbit_around(grid, c)
    operator = ConeBeam(geometry, torch.ones(c.views, 1, 1, dtype=torch.bool))
    if c.same_rays:
        return Scan(operator, ATTENUATION, plain(operator, c.noise, hu_to_mu), whole=True)
    measure = _of_object(geometry, grid, c)
    return Scan(operator, ATTENUATION, measure, noise_of_object(c), whole=True)


def orbit_around(grid: Grid, c: Choices) -> ConeGeometry:
    """The orbit, with a detector that covers the shadow of the volume in every view.

    Args:
        grid: the volume's grid.
        c: parameters of the scan.

    Raises:
        MedscoreError: the number of views or the distance is invalid.
    """
    check_views(c.views)
    spacing = (grid.slice_spacing, grid.row_spacing or grid.spacing, grid.spacing)
    voxels = VoxelGrid((grid.slices, *grid.shape), spacing)
    x, y, z = voxels.half.tolist()
    radius, source = math.hypot(x, y), c.source_distance
    if not radius < CLOSE * source < math.inf:
        raise MedscoreError(
            f"`source_distance` is {source:g} mm, and the volume reaches {radius:.4g} mm from the "
            "axis",
            hint=f"use more than {radius / CLOSE:.4g}",
        )
    detector = MAGNIFICATION * source
    pitch = (MAGNIFICATION * spacing[0], MAGNIFICATION * min(spacing[1:]))
    shadow = (
        detector * z / (source - radius),
        detector * radius / math.sqrt(source**2 - radius**2),
    )
    rows, columns = (2 * math.ceil(s / p) for s, p in zip(shadow, pitch, strict=True))
    angles = [2 * math.pi * view / c.views for view in range(c.views)]
    return circular_orbit(
        voxels, angles, source_distance=source, detector_distance=detector,
        rows=rows, columns=columns, pitch=pitch,
    )  # fmt: skip


def _of_object(
    geometry: ConeGeometry, grid: Grid, c: Choices
) -> Callable[[Tensor, torch.Generator], Tensor]:
    """The measurement of an object on a finer grid."""
    across = math.ceil(c.refinement * grid.rows / (grid.matrix or grid.rows) - 1e-9)
    rows, columns = (grid.matrix or n for n in grid.shape)
    shape = (c.refinement * grid.slices, across * rows, across * columns)
    if ARRAYS * 8 * math.prod(shape) > memory_budget():
        raise MedscoreError(
            f"`finer` is {c.refinement}, which makes an object of "
            f"{' x '.join(map(str, shape[::-1]))} voxels",
            hint="use a smaller one, or fewer slices",
        )
    box = [n * s for n, s in zip(geometry.grid.shape, geometry.grid.spacing, strict=True)]
    dz, dy, dx = (length / n for length, n in zip(box, shape, strict=True))
    thin = replace(
        geometry, grid=VoxelGrid(shape, (dz, dy, dx)), u=geometry.u / RAYS, v=geometry.v / RAYS,
        rows=RAYS * geometry.rows, columns=RAYS * geometry.columns,
    )  # fmt: skip

    def measure(hu: Tensor, generator: torch.Generator) -> Tensor:
        mu = hu_to_mu(_refined(hu, c.refinement, across)).float()
        y = torch.cat(
            [
                _readings(mu, thin, range(first, min(first + AT_A_TIME, thin.views)))
                for first in range(0, thin.views, AT_A_TIME)
            ],
            -3,
        )
        return c.noise(y, torch.ones_like(y), generator).float()

    return measure


def _refined(hu: Tensor, along: int, across: int) -> Tensor:
    """A volume (1, 1, Z, H, W) in HU on a grid that is finer along and across the slices."""
    volume = hu[0, 0].clamp_min(AIR).double().numpy()
    count, rows, columns = volume.shape
    planes = refined(volume.reshape(count, -1), (along, 1), AIR)
    found = [refined(plane.reshape(rows, columns), across, AIR) for plane in planes]
    return torch.stack([torch.from_numpy(plane) for plane in found])[None, None]


def _readings(mu: Tensor, thin: ConeGeometry, views: range) -> Tensor:
    """Line integrals (1, 1, views, rows, columns) by the mean intensity of thin rays, float64."""
    rays = project(mu, thin.select(list(views))).double()
    blocks = rays.unflatten(-2, (-1, RAYS)).unflatten(-1, (-1, RAYS))
    return -torch.log(torch.exp(-blocks).mean((-3, -1)))

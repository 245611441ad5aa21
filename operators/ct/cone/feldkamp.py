r"""The algorithm of Feldkamp, Davis and Kress (1984) on a circular orbit.

With U the distance of the voxel from the source along the central ray in units of the source's
distance R, and D the distance of the detector,

.. math:: f(x) = \int U^{-2} \int w(\beta, u)\,p(\beta, u, v_x)\,
                 \frac{D}{\sqrt{D^2 + u^2 + v_x^2}}\, h(u_x - u)\, du\, d\beta,

that is, filtered back-projection of the fan beam (:mod:`medscore.operators.ct.fbp`) in every row of
the detector, with the cosine of the cone angle in addition; a voxel takes from each view the value
where its ray meets the detector, bilinearly interpolated. Ramp filter, windows, the weights w of
short scans and displaced detectors (Parker 1982, Wang 2002), and the shares of the views are those
of the fan beam in the middle plane. For a curved detector U is the distance in that plane from the
source itself.

Every voxel column (i, j) meets a view in a column of the detector, and its voxels at equally spaced
rows: the two interpolations of :mod:`~medscore.operators.ct.cone.sheet`, with views instead of
planes.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from medscore.operators.autograd import outside
from medscore.operators.ct.cone.geometry import ConeGeometry
from medscore.operators.ct.cone.orbit import Orbit, orbit_of
from medscore.operators.ct.cone.sheet import Sheet
from medscore.operators.ct.cone.symmetry import plan
from medscore.operators.ct.cone.upright import Upright
from medscore.operators.ct.cone.voxel_rays import voxel_rays
from medscore.operators.ct.fan import FanBeam
from medscore.operators.ct.fbp import Filter, Window, extended, ramp_filter
from medscore.operators.grid import OperatorError

VIEWS = 16
"""Number of seed views that are back-projected at a time."""


def fan_of(geometry: ConeGeometry) -> tuple[Orbit, FanBeam, Tensor]:
    """The fan beam in the middle plane of a circular orbit.

    Args:
        geometry: the scan.

    Returns:
        The orbit; the fan beam on the smallest square about the axis that contains the volume, with
        its views in the order of their angles; and the view of the scan that each of them is.

    Raises:
        OperatorError: the scan is not a circular orbit, or the source is too close to the volume.
    """
    orbit = orbit_of(geometry)
    order = orbit.angles.argsort(stable=True)
    far = torch.tensor(geometry.grid.centre[:2], dtype=torch.float64).abs() + geometry.grid.half[:2]
    size = max(2, *geometry.grid.shape[1:])
    try:
        fan = FanBeam(
            size,
            2 * float(far.max()) / size,
            geometry.views,
            orbit.source_distance,
            orbit.detector_distance,
            geometry.columns,
            orbit.pitch[1],
            geometry.detector_shape,
            orbit.offset[1],
            tuple(orbit.angles[order].tolist()),
        )
    except ValueError as error:
        raise OperatorError(f"the algorithm of Feldkamp does not apply: {error}") from error
    return orbit, fan, order


def cone_cosines(geometry: ConeGeometry, orbit: Orbit) -> Tensor:
    """Cosine of the angle between each ray and its fan, (rows, columns) float64.

    Args:
        geometry: the scan.
        orbit: its orbit.
    """
    row, column = geometry.middle
    v = (torch.arange(geometry.rows).double() - row) * orbit.pitch[0] + orbit.offset[0]
    u = (torch.arange(geometry.columns).double() - column) * orbit.pitch[1] + orbit.offset[1]
    u = u if geometry.detector_shape == "flat" else torch.zeros_like(u)
    base = orbit.detector_distance**2 + u**2
    return (base / (base + v[:, None] ** 2)).sqrt()


def cone_filter(
    geometry: ConeGeometry, *, window: Window = "ram-lak", partial: bool = False
) -> tuple[Filter, FanBeam]:
    """The filter of the rows, with the views in the order of the scan, and the fan beam.

    Args:
        geometry: the scan.
        window: apodisation window of the ramp filter.
        partial: whether the rays may be too few for the algorithm.

    Raises:
        OperatorError: no circular orbit, or rays are missing that the algorithm needs.
    """
    _, fan, order = fan_of(geometry)
    ramp, place = ramp_filter(fan, window=window, partial=partial), order.argsort()
    before = ramp.before[place] if ramp.before.ndim == 2 else ramp.before
    return replace(ramp, before=before, weights=ramp.weights[place]), fan


def feldkamp(
    y: Tensor,
    geometry: ConeGeometry,
    *,
    window: Window = "ram-lak",
    memory: int,
) -> Tensor:
    """The volumes (batch, Z, Y, X) of a scan.

    Args:
        y: projections (batch, views, rows, columns).
        geometry: the scan, a circular orbit.
        window: apodisation window of the ramp filter.
        memory: largest size in bytes of the temporary arrays, besides copies of the projections.

    Raises:
        OperatorError: no circular orbit, or rays are missing that the algorithm needs.
    """
    orbit = orbit_of(geometry)
    ramp, fan = outside(lambda: cone_filter(geometry, window=window))
    filtered = filtered_rows(cone_cosines(geometry, orbit).to(y) * y, ramp)
    offset = extended(fan, ramp.margin).detector_offset
    orbit = replace(orbit, offset=(orbit.offset[0], offset))
    return weighted_backprojection(filtered, geometry, orbit, memory=memory)


def filtered_rows(y: Tensor, ramp: Filter) -> Tensor:
    """The filtered rows of every view, (batch, views, rows, columns and margin).

    Args:
        y: projections (batch, views, rows, columns).
        ramp: the filter.
    """
    return torch.stack([ramp(row) for row in y.unbind(2)], 2)


def weighted_backprojection(
    y: Tensor, geometry: ConeGeometry, orbit: Orbit, *, memory: int
) -> Tensor:
    """The sum over the views of U^-2 times the value where a voxel's ray meets the detector.

    Args:
        y: filtered projections (batch, views, rows, columns), of any number of columns.
        geometry: the scan.
        orbit: its orbit, with the offset of the middle of these columns.
        memory: largest size in bytes of the temporary arrays, besides copies of the projections.
    """
    rays = voxel_rays(geometry)
    scan = Upright(rays, plan(rays), memory)
    lines, parts, count = scan.layout, scan.parts, geometry.grid.shape[0]
    tables = [_table(scan, y, k) for k in range(len(scan.plan.seeds))]
    upright = y.new_zeros(*geometry.grid.shape[1:], count, len(y))
    for planes in scan.slabs(scan.plan.elements, len(y)):
        found = scan.empty_table(upright, scan.plan.elements, planes)
        inner = found[:, :, lines.zeros : lines.length - 2]
        for begin in range(0, len(tables), VIEWS):
            seeds = scan.plan.seeds[begin : begin + VIEWS]
            table = torch.stack(tables[begin : begin + VIEWS])
            sheet = _voxel_columns(scan, geometry, orbit, list(seeds), planes, table)
            inner += sheet.project(table).view(inner.shape)
        if parts == 2:  # the middle is in both halves
            if count % 2:
                inner[:, :, 0, :, 1] = 0
            else:
                inner[:, :, 0] = 0
        scan.add_table(upright, scan.plan.elements, planes, found)
    return upright.permute(3, 2, 0, 1).contiguous()


def _first_row(scan: Upright) -> tuple[int, int]:
    """First row of a table of a view, and number of zeros before it."""
    return ((scan.rays.rows - 1) // 2, 0) if scan.plan.fold else (0, 1)


def _table(scan: Upright, y: Tensor, k: int) -> Tensor:
    """The images of a seed view, with zeros: (columns, rows, batch, parts, symmetries)."""
    samples = scan.gather(y, k)
    if not scan.plan.fold:
        return torch.nn.functional.pad(samples, (0, 0, 0, 0, 0, 0, 1, 2))
    if scan.rays.rows % 2:
        samples[:, 0, :, 1] = samples[:, 0, :, 0]
    else:
        samples = torch.cat([samples[:, :1].flip(3), samples], 1)
    return torch.nn.functional.pad(samples, (0, 0, 0, 0, 0, 0, 0, 2))


def _voxel_columns(
    scan: Upright,
    geometry: ConeGeometry,
    orbit: Orbit,
    seeds: list[int],
    planes: range,
    table: Tensor,
) -> Sheet:
    """Where the voxel columns of some image rows meet some views."""
    grid, lines, columns = geometry.grid, scan.layout, table.shape[1]
    (n_z, n_i, n_j), (s_z, s_y, s_x) = grid.shape, grid.spacing
    x = (torch.arange(n_j).double() - (n_j - 1) / 2) * s_x + grid.centre[0]
    y = grid.centre[1] - (torch.arange(planes.start, planes.stop).double() - (n_i - 1) / 2) * s_y
    x, y = x.repeat(len(y))[:, None], y.repeat_interleave(n_j)[:, None]
    cos, sin = orbit.angles[seeds].cos(), orbit.angles[seeds].sin()
    across, away = x * cos + y * sin, orbit.source_distance + y * cos - x * sin
    if geometry.detector_shape == "curved":
        depth = torch.hypot(away, across)
        u = torch.atan2(across, away) * orbit.detector_distance
    else:
        depth, u = away, across / away * orbit.detector_distance
    place = (u - orbit.offset[1]) / orbit.pitch[1] + (columns - 1) / 2
    seen = (place >= -0.5) & (place <= columns - 0.5)
    weight = (orbit.source_distance / depth) ** 2 * seen
    place = place.clamp(0, columns - 1)
    left = place.floor().clamp(max=max(0, columns - 2))
    share = torch.stack([left + 1 - place, place - left], -1) * weight[..., None]
    pair = torch.stack([left, (left + 1).clamp(max=columns - 1)], -1)
    first, zeros = _first_row(scan)
    rate = orbit.detector_distance / depth / orbit.pitch[0]
    bottom = (lines.first - (n_z - 1) / 2) * s_z + grid.centre[2]
    start = bottom * rate - orbit.offset[0] / orbit.pitch[0]
    start = start + (geometry.rows - 1) / 2 - first + zeros
    return Sheet(
        torch.arange(len(x), device=table.device), pair.to(table.device, torch.int32),
        share.to(table), start.to(table), (s_z * rate).to(table),
        lines.length - lines.zeros - 2, columns,
    )  # fmt: skip

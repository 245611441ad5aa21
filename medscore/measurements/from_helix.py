r"""From a helical scan in DICOM-CT-PD to a measurement of a volume by a cone beam.

The volume has square slices about the axis, as far apart as the rows of the detector at the axis,
over the heights that the source passes, without half a turn at either end. A detector row that
sees, anywhere within the field of view, what lies above the middle of the last slice or below that
of the first is left out of the measured rays of that view, since its readings are not those of the
volume alone.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from medscore.datasets.raw.ct_pd_helix import HelicalScan, Poses, read_helix, read_poses
from medscore.datasets.volume import centred_affine, slice_range
from medscore.errors import MedscoreError
from medscore.measurements.measurement import ATTENUATION, Measurement
from medscore.operators.ct.cone.beam import ConeBeam
from medscore.operators.ct.cone.geometry import ConeGeometry, VoxelGrid

Array = NDArray[np.float64]


def from_helix(
    path: Path,
    *,
    size: int,
    spacing: float,
    slices: str | tuple[int, int] | None = None,
    every: float | None = None,
) -> Measurement:
    """Read a helical scan.

    Args:
        path: folder of DICOM-CT-PD files.
        size: rows and columns of the slices.
        spacing: their pixel size in mm.
        slices: range of the slices; all by default.
        every: reads every n-th view only.

    Raises:
        MedscoreError: the files cannot be read, the grid is invalid, ``every`` is no whole number,
            or no detector row sees the volume alone.
    """
    step = 1 if every is None else round(every)
    if step < 1 or (every is not None and step != every):
        raise MedscoreError(
            f"`acceleration` is {every:g}, and of a helical scan every n-th view is kept",
            where=path, hint="use a whole number",
        )  # fmt: skip
    poses = read_poses(path)
    low, high = _heights(poses)
    count = max(1, math.floor((high - low) / poses.row_mm + 1e-6))
    first, last = (0, count) if slices is None else slice_range(slices, count, path)
    bottom = (low + high) / 2 + (first - count / 2) * poses.row_mm
    top = bottom + (last - first) * poses.row_mm
    volume = bottom + poses.row_mm / 2, top - poses.row_mm / 2, size * spacing / 2
    both = [inside(poses, sign, *volume) for sign in (1, -1)]  # it is not known yet
    seen = _seen(path, np.asarray(np.stack(both).any((0, 2))))
    scan = read_helix(path, poses.select(seen[::step]))
    mask = inside(scan.poses, scan.rows, *volume)
    seen = _seen(path, np.asarray(mask.any(1)))
    scan, mask = scan.select(seen), mask[seen]
    middle = (bottom + top) / 2
    grid_spacing = (poses.row_mm, spacing, spacing)
    try:
        grid = VoxelGrid((last - first, size, size), grid_spacing, (0.0, 0.0, middle))
        geometry = cone_geometry(scan, grid)
        operator = ConeBeam(geometry, torch.from_numpy(mask)[:, :, None])
    except ValueError as error:
        raise MedscoreError(str(error), where=path, hint="use another grid") from error
    affine = centred_affine(size, size, (spacing, spacing, poses.row_mm))
    affine[2, 3] = bottom + poses.row_mm / 2
    return Measurement(
        data=scan.data[None, None] * mask[:, :, None],
        operator=operator,
        task="helical-ct",
        modality="CT",
        image_unit=ATTENUATION,
        mu_water=poses.mu_water,
        noise="unknown",
        affine=affine,
        source=scan.source,
    )


def cone_geometry(scan: HelicalScan, grid: VoxelGrid) -> ConeGeometry:
    """The poses of a helical scan as those of a cone beam with a curved detector.

    The detector is a cylinder about the focal centre, which is described here as one about the
    source: with a flying focal spot, which is beside the focal centre by less than a millimetre,
    the angles of the columns are those about the source to first order.

    Args:
        scan: the scan.
        grid: the volume.
    """
    poses, (_, rows, columns) = scan.poses, scan.data.shape
    phi, shift = poses.angle, poses.shifts
    outward = np.stack([-np.sin(phi), np.cos(phi), np.zeros_like(phi)], 1)
    around = scan.columns * np.stack([np.cos(phi), np.sin(phi), np.zeros_like(phi)], 1)
    up = np.array([0.0, 0.0, 1.0])
    focus = poses.radius * outward + poses.height[:, None] * up
    angle, rho = phi + shift[:, 0], poses.radius + shift[:, 2]
    source = rho[:, None] * np.stack([-np.sin(angle), np.cos(angle), np.zeros_like(phi)], 1)
    source += (poses.height + shift[:, 1])[:, None] * up
    v_mm, u_mm = poses.pitch
    gamma = ((columns - 1) / 2 - poses.centre[:, 0]) * u_mm / poses.to_detector
    middle = np.cos(gamma)[:, None] * -outward + np.sin(gamma)[:, None] * around
    height = scan.rows * ((rows - 1) / 2 - poses.centre[:, 1]) * v_mm
    detector = focus + poses.to_detector * middle + height[:, None] * up
    ahead = (detector - source) * (1 - up)
    distance = np.linalg.norm(ahead, axis=1, keepdims=True)
    tangent = np.sin(gamma)[:, None] * outward + np.cos(gamma)[:, None] * around
    tangent -= (tangent * ahead).sum(1, keepdims=True) / distance**2 * ahead
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    u = u_mm * distance / poses.to_detector * tangent
    v = np.broadcast_to(scan.rows * v_mm * up, u.shape)
    poses_of = [torch.tensor(each) for each in (source, detector, u, v)]
    return ConeGeometry(
        grid, poses_of[0], poses_of[1], poses_of[2], poses_of[3], rows, columns, "curved"
    )


def _heights(poses: Poses) -> tuple[float, float]:
    """The heights between which every voxel is seen over half a turn or more; all of them if the
    scan is shorter than two turns."""
    low, high = float(poses.height.min()), float(poses.height.max())
    half = poses.advance / 2
    return (low + half, high - half) if high - low > 2 * poses.advance else (low, high)


def inside(poses: Poses, sign: int, bottom: float, top: float, half: float) -> NDArray[np.bool_]:
    """Rows that see nothing above or below a volume within the field of view, (views, rows).

    Args:
        poses: the views.
        sign: direction along z in which rows are counted.
        bottom: height of the volume's first slice in mm.
        top: height of its last slice.
        half: radius of the field of view in mm.
    """
    height = sign * (np.arange(poses.rows) - poses.centre[:, 1:]) * poses.pitch[0]
    source = (poses.height + poses.shifts[:, 1])[:, None]
    slope = (poses.height[:, None] + height - source) / poses.to_detector
    ends = [source + slope * (poses.radius + beside * half) for beside in (-1, 1)]
    found: NDArray[np.bool_] = (np.minimum(*ends) >= bottom) & (np.maximum(*ends) <= top)
    return found


def _seen(path: Path, sees: NDArray[np.bool_]) -> list[int]:
    """Numbers of the views that see a volume."""
    found: list[int] = np.flatnonzero(sees).tolist()
    if not found:
        raise MedscoreError(
            "no detector row sees these slices alone", where=path, hint="use more `slices`"
        )
    return found

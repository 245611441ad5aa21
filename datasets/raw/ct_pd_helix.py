"""Helical scans in DICOM-CT-PD: one file is one view of a detector with several rows.

The source and the detector of every view are where the tags of its file say, with the focal spot
beside the focal centre (flying focal spot). Views whose rays pass the wanted heights are read, or
every n-th of them. LDCT-and-Projection-data (Moen et al. 2021) has this format.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.dicom.opening import read_file
from medscore.datasets.raw.ct_pd_tags import (
    ANGLE,
    AXIAL,
    CENTRAL,
    HEIGHT,
    HINT,
    RADIUS,
    SHIFTS,
    TO_DETECTOR,
    TRANSVERSE,
    check_cylinder,
    number,
    numbers,
    water,
)
from medscore.datasets.raw.redundant_rays import Views, signs
from medscore.datasets.raw.units import check_unit
from medscore.datasets.volume import Source
from medscore.errors import MedscoreError, reading
from medscore.io.budget import check_memory
from medscore.io.opening import read_bytes

Array = NDArray[np.float64]

DIRECTIONS = -1, 1
"""Signs of the columns and of the rows where the data do not tell."""


@dataclass(frozen=True)
class Poses:
    """Where the source is in every view, in the order of the scan.

    Attributes:
        files: the files.
        angle: angle phi of the focal centre in radians, without jumps, (views,).
        height: position z of the focal centre in mm, (views,).
        centre: detector (column, row) on the ray through the axis, counted from 0, (views, 2).
        shifts: where the source is beside the focal centre: phi, z and rho, (views, 3).
        radius: distance rho of the focal centre to the axis in mm.
        to_detector: distance of the focal centre to the detector in mm.
        pitch: distance (v, u) of rows and columns of the detector in mm.
        mu_water: attenuation coefficient of water in 1/mm.
        rows: number of detector rows.
    """

    files: tuple[Path, ...]
    angle: Array
    height: Array
    centre: Array
    shifts: Array
    radius: float
    to_detector: float
    pitch: tuple[float, float]
    mu_water: float
    rows: int

    @property
    def row_mm(self) -> float:
        """Distance of two rows, seen at the axis, in mm."""
        return self.pitch[0] * self.radius / self.to_detector

    @property
    def advance(self) -> float:
        """Distance in mm by which the source moves along the axis in a turn, 0 or more."""
        turned = abs(self.angle[-1] - self.angle[0]) / (2 * math.pi)
        return float(abs(self.height[-1] - self.height[0]) / max(turned, 1e-6))

    def select(self, views: Sequence[int]) -> Poses:
        """Some views.

        Args:
            views: their numbers.
        """
        index = np.asarray(views)
        return Poses(
            tuple(self.files[i] for i in index), self.angle[index], self.height[index],
            self.centre[index], self.shifts[index], self.radius, self.to_detector, self.pitch,
            self.mu_water, self.rows,
        )  # fmt: skip


@dataclass(frozen=True)
class HelicalScan:
    """Line integrals of a helical scan.

    Attributes:
        data: (views, rows, columns) float32.
        poses: where the source is in every view.
        columns: sign of the direction in which columns are counted
            (:mod:`medscore.datasets.raw.redundant_rays`).
        rows: sign of the direction along z in which rows are counted.
        source: hash and notes, without identity.
    """

    data: NDArray[np.float32]
    poses: Poses
    columns: int
    rows: int
    source: Source

    def select(self, views: Sequence[int]) -> HelicalScan:
        """Some views.

        Args:
            views: their numbers.
        """
        return replace(self, data=self.data[views], poses=self.poses.select(views))


def read_poses(path: Path) -> Poses:
    """Read the geometry of all views of a folder, without their readings.

    Args:
        path: folder of DICOM-CT-PD files.

    Raises:
        MedscoreError: the files are not DICOM or lack a tag, or the detector is no cylinder.
    """
    found: list[tuple[int, str, Path, float, float, list[float], list[float]]] = []
    for file in sorted(path.glob("*.dcm")):
        ds = read_file(file, stop_before_pixels=True)
        with reading("DICOM", file):
            order = int(ds.get("InstanceNumber") or 0)
        if not found:
            check_cylinder(path, ds)
            fixed = [number(file, ds, tag) for tag in (RADIUS, TO_DETECTOR, HEIGHT, TRANSVERSE)]
            mu_water, rows = water(file, ds), int(ds.get("Columns") or 0)
        centre = [value - 1 for value in numbers(file, ds, CENTRAL)]
        if len(centre) != 2:
            raise MedscoreError(
                f"(7031,1033) has {len(centre)} numbers, expected column and row", where=file,
                hint=HINT,
            )  # fmt: skip
        shifts = [number(file, ds, tag) if tag in ds else 0.0 for tag in SHIFTS]
        place = number(file, ds, ANGLE), number(file, ds, AXIAL)
        found.append((order, file.name, file, *place, centre, shifts))
    found.sort(key=lambda view: view[:2])
    if len(found) < 2:
        raise MedscoreError(f"holds {len(found)} views", where=path, hint="check the folder")
    radius, to_detector, height, transverse = fixed
    if not 0 < radius < to_detector or not min(height, transverse) > 0:
        raise MedscoreError(
            f"the source is {radius:g} mm from the axis and {to_detector:g} mm from the detector, "
            f"whose elements are {transverse:g} x {height:g} mm", where=path, hint=HINT,
        )  # fmt: skip
    return Poses(
        files=tuple(view[2] for view in found),
        angle=np.unwrap([view[3] for view in found]),
        height=np.array([view[4] for view in found]),
        centre=np.array([view[5] for view in found]),
        shifts=np.array([view[6] for view in found]),
        radius=radius,
        to_detector=to_detector,
        pitch=(height, transverse),
        mu_water=mu_water,
        rows=rows,
    )


def read_helix(path: Path, poses: Poses) -> HelicalScan:
    """Read the line integrals of some views.

    Args:
        path: the folder, for errors.
        poses: the views.

    Raises:
        MedscoreError: a file is no view, views have different detectors, the readings exceed the
            memory budget, or they are no line integrals.
    """
    digest, data = hashlib.sha256(), None
    for index, file in enumerate(poses.files):
        digest.update(read_bytes(file))
        view = _readings(file)
        if data is None:
            check_memory(4 * len(poses.files) * view.size, path)
            data = np.empty((len(poses.files), *view.shape), np.float32)
        if view.shape != data.shape[1:]:
            raise MedscoreError(
                f"has {view.shape[1]} x {view.shape[0]} detectors, the first view "
                f"{data.shape[2]} x {data.shape[1]}", where=file, hint="keep the files of one scan",
            )  # fmt: skip
        data[index] = view
    assert data is not None
    if not np.isfinite(data).all():
        raise MedscoreError("holds NaN or infinity", where=path, hint="export it again")
    check_unit(data.reshape(1, -1, data.shape[2]), "line-integrals", path)
    views = Views(
        data, poses.angle, poses.height, poses.centre, poses.pitch[1] / poses.to_detector,
        poses.row_mm,
    )  # fmt: skip
    columns, rows = signs(views, DIRECTIONS)
    note = "the directions of the detector's columns and rows are those that make rays agree"
    source = Source("projections", digest.hexdigest(), notes=(note,))
    return HelicalScan(data, poses, columns, rows, source)


def _readings(file: Path) -> NDArray[np.float32]:
    """The line integrals of a view, (rows, columns); files hold (columns, rows)."""
    ds = read_file(file)
    with reading("DICOM", file):
        pixels = ds.pixel_array.astype(np.float32)
        slope, intercept = float(ds.get("RescaleSlope", 1)), float(ds.get("RescaleIntercept", 0))
    if pixels.ndim != 2:
        raise MedscoreError("is not a single view", where=file, hint="use one file per view")
    view: NDArray[np.float32] = (pixels.T * slope + intercept).astype(np.float32)
    return view

"""DICOM-CT-PD: projections as DICOM (Chen et al. 2015; the LDCT-and-Projection-data collection).

One file is one view: (columns, rows) of the detector, with its geometry in the private groups 7029
to 7041. The reader takes axial (step-and-shoot) scans: full turns at one table position each, with
a cylindrical detector around the source, of which it reads the central detector row. Rebinning of
helical scans is out of scope: they are refused, and can be read as a stack with a geometry file
once they are rebinned (:mod:`medscore.datasets.raw.projections`).

The source is at rho (-sin phi, cos phi), with x to the right and y upwards in the image, and
columns run along the detector axis of ``medscore.operators.ct.geometry``. No file of a real axial
scan was available to verify this.
"""

from __future__ import annotations

import hashlib
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from medscore.datasets.dicom.opening import read_file
from medscore.datasets.raw.projections import Projections, checked_geometry
from medscore.datasets.raw.units import check_unit
from medscore.datasets.volume import Source
from medscore.errors import MedscoreError, reading
from medscore.hounsfield import MU_WATER
from medscore.io.opening import read_bytes

TRANSVERSE, SHAPE = (0x7029, 0x1002), (0x7029, 0x100B)
ANGLE, AXIAL, RADIUS = (0x7031, 0x1001), (0x7031, 0x1002), (0x7031, 0x1003)
TO_DETECTOR, CENTRAL = (0x7031, 0x1031), (0x7031, 0x1033)
WATER = (0x7041, 0x1001)
KIND = (0x7037, 0x1009)
"""Tag of the type of projection data: helical or axial."""


@dataclass(frozen=True)
class _View:
    """Angle in radians, table position in mm, the detector on the axis of rotation, counted from 0,
    and line integrals of the central detector row.
    """

    angle: float
    place: float
    centre: float
    row: NDArray[np.float32]

    @property
    def beta(self) -> float:
        """phi + pi in [0, 2 pi), where rounding errors below 0 count as 0."""
        return (self.angle + math.pi + 1e-6) % (2 * math.pi)


def is_ct_pd(path: str | Path) -> bool:
    """True if the first DICOM file of a folder is a projection.

    Args:
        path: folder.
    """
    for file in sorted(Path(path).glob("*.dcm"))[:1]:
        try:
            return ANGLE in read_file(file, stop_before_pixels=True, specific_tags=[ANGLE])
        except MedscoreError:
            return False
    return False


def read_ct_pd(path: str | Path, *, size: int, spacing: float) -> Projections:
    """Read the projections of a folder.

    Args:
        path: folder of DICOM-CT-PD files.
        size: pixels per side of the image to reconstruct, which the files do not record.
        spacing: its pixel spacing in mm.

    Raises:
        MedscoreError: the files are not DICOM or lack a tag, the scan is helical, the detector is
            flat, or the views are not equally spaced over full turns.
    """
    path = Path(path)
    digest, views = hashlib.sha256(), []
    first: Dataset | None = None
    for file in sorted(path.glob("*.dcm")):
        digest.update(read_bytes(file))
        ds = read_file(file)
        with reading("DICOM", file):
            first = first or ds
            views.append(_view(file, ds))
    if first is None:
        raise MedscoreError("holds no .dcm file", where=path, hint="check the folder")
    lengths = sorted({len(view.row) for view in views})
    if len(lengths) > 1:
        raise MedscoreError(
            f"views have {lengths[0]} to {lengths[-1]} detectors", where=path,
            hint="keep the files of one scan",
        )  # fmt: skip
    turns = _turns(path, views)
    with reading("DICOM", path):
        shape = str(first[SHAPE].value).strip() if SHAPE in first else ""
    if shape and shape.upper() != "CYLINDRICAL":
        raise MedscoreError(
            f"the detector is {shape.lower()}",
            where=path,
            hint="use a scan with a cylindrical detector",
        )
    centre = float(np.median([view.centre for view in views]))
    water = _number(path, first, WATER) if WATER in first else MU_WATER
    fields = {
        "beam": "fan",
        "size": size,
        "spacing": spacing,
        "views": len(turns[0]),
        "detector_spacing": _number(path, first, TRANSVERSE),
        "centre_of_rotation": centre,
        "source_distance": _number(path, first, RADIUS),
        "detector_distance": _number(path, first, TO_DETECTOR),
        "detector_shape": "curved",
        "slice_spacing": abs(turns[1][0].place - turns[0][0].place) if len(turns) > 1 else 1.0,
        "mu_water": water if 0.01 < water < 0.05 else MU_WATER,
    }
    hint = "use DICOM-CT-PD in mm, and a valid `size` and `spacing`"
    geometry = checked_geometry(fields, path, hint=hint)
    data = np.stack([np.stack([_about(view, centre) for view in turn]) for turn in turns])
    if np.isfinite(data).all():
        check_unit(data, "line-integrals", path)
    note = "only the central detector row is read"
    source = Source("projections", digest.hexdigest(), notes=(note,))
    return Projections(data.astype(np.float32), geometry, source)


def _view(file: Path, ds: Dataset) -> _View:
    pixels = ds.pixel_array.astype(np.float32)
    slope, intercept = float(ds.get("RescaleSlope", 1)), float(ds.get("RescaleIntercept", 0))
    rows = pixels.shape[1] if pixels.ndim == 2 else 0
    if not rows:
        raise MedscoreError("is not a single view", where=file, hint="use one file per view")
    row = pixels[:, rows // 2] * slope + intercept
    return _View(
        angle=_number(file, ds, ANGLE) % (2 * math.pi),
        place=_number(file, ds, AXIAL),
        centre=_numbers(file, ds, CENTRAL)[0] - 1,  # counted from 1
        row=row.astype(np.float32),
    )


def _about(view: _View, centre: float) -> NDArray[np.float32]:
    """The row of a view, moved so that the axis is on the detector ``centre``, as in all views.

    A focal spot that moves between views (flying focal spot) moves the axis.
    """
    if abs(view.centre - centre) < 1e-4:
        return view.row
    places = np.arange(len(view.row))
    moved: NDArray[np.float32] = np.interp(places + view.centre - centre, places, view.row).astype(
        np.float32
    )
    return moved


def _turns(path: Path, views: list[_View]) -> list[list[_View]]:
    """Full turns by table position, each from beta = phi + pi = 0 on, anticlockwise."""
    places: dict[float, list[_View]] = {}
    for view in views:
        places.setdefault(round(view.place, 2), []).append(view)
    if len(places) > max(1, len(views) // 16):
        raise MedscoreError(
            f"the table moves by {max(places) - min(places):.4g} mm during the scan: it is helical",
            where=path,
            hint="rebin it to fan beams first, and use these as a stack with `geometry`",
        )
    turns = [sorted(places[place], key=lambda view: view.beta) for place in sorted(places)]
    counts = {len(turn) for turn in turns}
    if len(counts) > 1:
        raise MedscoreError(
            f"turns have {min(counts)} to {max(counts)} views", where=path, hint="complete them"
        )
    step = 2 * math.pi / len(turns[0])
    for turn in turns:
        beta = np.array([view.beta for view in turn])
        off = np.abs(beta - step * np.arange(len(turn)) - beta[0]).max()
        if off > 0.1 * step or beta[0] > 0.6 * step:
            raise MedscoreError(
                "views are not equally spaced over a full turn", where=path, hint="complete them"
            )
    return turns


def _numbers(where: Path, ds: Dataset, tag: tuple[int, int]) -> tuple[float, ...]:
    """Values of a tag as floats, even if pydicom does not know that they are floats."""
    if tag not in ds:
        raise MedscoreError(
            f"lacks the tag ({tag[0]:04X},{tag[1]:04X})", where=where, hint="use DICOM-CT-PD"
        )
    with reading("DICOM", where):
        value: Any = ds[tag].value
        if isinstance(value, bytes):
            value = struct.unpack(f"<{len(value) // 4}f", value[: len(value) // 4 * 4])
        found = tuple(float(v) for v in (value if hasattr(value, "__len__") else (value,)))
    if not found or not all(math.isfinite(v) for v in found):
        raise MedscoreError(
            f"({tag[0]:04X},{tag[1]:04X}) is {value!r}", where=where, hint="export it again"
        )
    return found


def _number(where: Path, ds: Dataset, tag: tuple[int, int]) -> float:
    return _numbers(where, ds, tag)[0]

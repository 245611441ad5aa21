"""DICOM-CT-PD: projections as DICOM (Chen et al. 2015; the LDCT-and-Projection-data collection).

One file is one view: (columns, rows) of the detector, with its geometry in the private groups 7029
to 7041. The reader takes axial (step-and-shoot) scans: full turns at one table position each, with
a cylindrical detector around the source, of which it reads the central detector row. Helical scans
are read by :mod:`medscore.datasets.raw.ct_pd_helix`.

The source is at rho (-sin phi, cos phi), with x to the right and y upwards in the image. The
direction in which columns are counted is found from the data
(:mod:`medscore.datasets.raw.redundant_rays`). No file of a real axial scan was available to verify
this.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from medscore.datasets.dicom.opening import read_file
from medscore.datasets.raw.ct_pd_tags import (
    ANGLE,
    AXIAL,
    CENTRAL,
    RADIUS,
    TO_DETECTOR,
    TRANSVERSE,
    check_cylinder,
    number,
    numbers,
    water,
)
from medscore.datasets.raw.projections import Projections, checked_geometry
from medscore.datasets.raw.redundant_rays import Views, signs
from medscore.datasets.raw.units import check_unit
from medscore.datasets.volume import Source
from medscore.errors import MedscoreError, reading
from medscore.io.opening import read_bytes


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


def is_helical(path: Path) -> bool:
    """Whether the table moves during the views, rather than between turns.

    Args:
        path: folder of DICOM-CT-PD files.

    Raises:
        MedscoreError: a file is not DICOM, or lacks its table position.
    """
    files = sorted(path.glob("*.dcm"))
    heights = set[float]()
    for file in files:
        ds = read_file(file, stop_before_pixels=True, specific_tags=[AXIAL])
        heights.add(round(number(file, ds, AXIAL), 2))
    return len(heights) > max(1, len(files) // 16)


def read_ct_pd(path: str | Path, *, size: int, spacing: float) -> Projections:
    """Read the projections of a folder.

    Args:
        path: folder of DICOM-CT-PD files.
        size: pixels per side of the image to reconstruct, which the files do not record.
        spacing: its pixel spacing in mm.

    Raises:
        MedscoreError: the files are not DICOM or lack a tag, the detector is flat, or the views are
            not equally spaced over full turns.
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
    check_cylinder(path, first)
    centre = float(np.median([view.centre for view in views]))
    data = np.stack([np.stack([_about(view, centre) for view in turn]) for turn in turns])
    step = number(path, first, TRANSVERSE) / number(path, first, TO_DETECTOR)
    if _are_reversed(turns[0], data[0], centre, step):
        data, centre = data[:, :, ::-1], data.shape[2] - 1 - centre
    fields = {
        "beam": "fan",
        "size": size,
        "spacing": spacing,
        "views": len(turns[0]),
        "detector_spacing": number(path, first, TRANSVERSE),
        "centre_of_rotation": centre,
        "source_distance": number(path, first, RADIUS),
        "detector_distance": number(path, first, TO_DETECTOR),
        "detector_shape": "curved",
        "slice_spacing": abs(turns[1][0].place - turns[0][0].place) if len(turns) > 1 else 1.0,
        "mu_water": water(path, first),
    }
    hint = "use DICOM-CT-PD in mm, and a valid `size` and `spacing`"
    geometry = checked_geometry(fields, path, hint=hint)
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
        angle=number(file, ds, ANGLE) % (2 * math.pi),
        place=number(file, ds, AXIAL),
        centre=numbers(file, ds, CENTRAL)[0] - 1,  # counted from 1
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


def _are_reversed(turn: list[_View], data: NDArray[np.float32], centre: float, step: float) -> bool:
    """Whether the columns are counted against the detector axis of this package.

    Args:
        turn: the views of a turn.
        data: their readings, (views, columns).
        centre: column on the ray through the axis.
        step: angle between two columns.
    """
    count = len(turn)
    centres = np.broadcast_to([centre, 0.0], (count, 2))
    angle = np.array([view.beta for view in turn])
    views = Views(data[:, None], angle, np.zeros(count), centres, step, 1.0, closed=True)
    return signs(views, (-1, 1))[0] == 1


def _turns(path: Path, views: list[_View]) -> list[list[_View]]:
    """Full turns by table position, each from beta = phi + pi = 0 on, anticlockwise."""
    places: dict[float, list[_View]] = {}
    for view in views:
        places.setdefault(round(view.place, 2), []).append(view)
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

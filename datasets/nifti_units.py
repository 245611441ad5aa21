"""Units of NIfTI headers: field xyzt_units of the NIfTI-1 and NIfTI-2 standards (nifti1.h).

The lowest three bits state the unit of lengths, the next three that of the fourth axis.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from medscore.errors import MedscoreError

LENGTHS = {1: ("metres", 1e3), 2: ("mm", 1.0), 3: ("micrometres", 1e-3)}
"""Units of lengths by code: name, and mm in one."""

STEPS = {
    8: ("s", 1.0), 16: ("s", 1e-3), 24: ("s", 1e-6), 32: ("Hz", 1.0), 40: ("ppm", 1.0),
    48: ("rad/s", 1.0),
}  # fmt: skip
"""Units of the fourth axis by code: the one that is shown, and its number in one."""

FIELD = 1.0, 5000.0
"""Side in mm of a plausible field of view; another one contradicts a unit that is not stated."""


def in_mm(
    path: Path, image: SpatialImage, affine: NDArray[np.float64]
) -> tuple[NDArray[np.float64], list[str]]:
    """An affine in mm, and notes on the unit.

    Args:
        path: the file.
        image: the image with its header.
        affine: (4, 4) map from voxels to the header's unit of lengths.

    Raises:
        MedscoreError: the header states no unit, and in mm the field of view is implausible.
    """
    code = _code(image) & 7
    affine = np.array(affine, dtype=np.float64)
    if code in LENGTHS:
        unit, mm = LENGTHS[code]
        affine[:3] *= mm
        return affine, [] if mm == 1 else [f"lengths were converted from {unit} to mm"]
    sides = np.linalg.norm(np.asarray(image.affine)[:3, :3], axis=0)
    field = max(float(side) * n for side, n in zip(sides, image.shape, strict=False))
    if not FIELD[0] <= field <= FIELD[1]:
        raise MedscoreError(
            f"states no unit of lengths (xyzt_units), and in mm the field of view is {field:g} mm",
            where=path,
            hint="set the unit in the header, such as with nibabel's set_xyzt_units('micron')",
        )
    return affine, ["the file states no unit of lengths (xyzt_units): mm are assumed"]


def place_in_time(image: SpatialImage, channel: int) -> str:
    """A note on the place of a volume among those of a 4-D image.

    Args:
        image: the image with its header.
        channel: index of the volume, from 0.
    """
    note = f"volume {channel} of {image.shape[3]}, from 0"
    header: Any = image.header
    step = float(header["pixdim"][4]) if "pixdim" in header else 0.0
    first = float(header["toffset"]) if "toffset" in header else 0.0
    found = STEPS.get(_code(image) & 56)
    if found is None or not np.isfinite([step, first]).all() or step == 0:
        return note
    unit, scale = found
    return f"{note}, at {(first + channel * step) * scale:.6g} {unit}"


def _code(image: SpatialImage) -> int:
    header: Any = image.header
    return int(header["xyzt_units"]) if "xyzt_units" in header else 0

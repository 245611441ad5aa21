"""The private tags of DICOM-CT-PD, and their values as numbers."""

from __future__ import annotations

import math
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from medscore.errors import MedscoreError, reading
from medscore.hounsfield import MU_WATER

Tag = tuple[int, int]

TRANSVERSE, HEIGHT, SHAPE = (0x7029, 0x1002), (0x7029, 0x1006), (0x7029, 0x100B)
"""Distances of the detector's columns and of its rows in mm, and its shape."""

ANGLE, AXIAL, RADIUS = (0x7031, 0x1001), (0x7031, 0x1002), (0x7031, 0x1003)
"""Cylinder coordinates of the focal centre: phi in radians, z and rho in mm."""

TO_DETECTOR, CENTRAL = (0x7031, 0x1031), (0x7031, 0x1033)
"""Distance from the focal centre to the detector, and the detector (column, row), counted from 1,
on the ray through the axis."""

SHIFTS = (0x7033, 0x100B), (0x7033, 0x100C), (0x7033, 0x100D)
"""Where the source is beside the focal centre (flying focal spot): phi, z and rho."""

KIND = (0x7037, 0x1009)
"""Type of projection data: helical or axial."""

WATER = (0x7041, 0x1001)
"""Attenuation coefficient of water in 1/mm."""

HINT = "use DICOM-CT-PD"


def numbers(where: Path, ds: Dataset, tag: Tag) -> tuple[float, ...]:
    """Values of a tag as floats, even if pydicom does not know that they are floats.

    Args:
        where: the file, for errors.
        ds: its content.
        tag: the tag.

    Raises:
        MedscoreError: the tag is missing, or holds no finite numbers.
    """
    if tag not in ds:
        raise MedscoreError(f"lacks the tag ({tag[0]:04X},{tag[1]:04X})", where=where, hint=HINT)
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


def number(where: Path, ds: Dataset, tag: Tag) -> float:
    """The first value of a tag.

    Args:
        where: the file, for errors.
        ds: its content.
        tag: the tag.

    Raises:
        MedscoreError: as :func:`numbers`.
    """
    return numbers(where, ds, tag)[0]


def water(where: Path, ds: Dataset) -> float:
    """Attenuation coefficient of water in 1/mm; a usual one where the file states none.

    Args:
        where: the file, for errors.
        ds: its content.
    """
    with reading("DICOM", where):
        stated: Any = ds[WATER].value if WATER in ds else MU_WATER
    candidates = [stated]
    if isinstance(stated, bytes):  # of a type that pydicom does not know: text or a number
        candidates = [stated.decode("ascii", "replace").strip("\0 ")]
        candidates += struct.unpack("<f", stated) if len(stated) == 4 else ()
    for each in candidates:
        with suppress(TypeError, ValueError):
            if 0.01 < float(each) < 0.05:
                return float(each)
    return MU_WATER


def check_cylinder(where: Path, ds: Dataset) -> None:
    """Refuse detectors that are no cylinders about the focal centre.

    Args:
        where: the folder, for errors.
        ds: content of a file.

    Raises:
        MedscoreError: the detector has another shape.
    """
    with reading("DICOM", where):
        value: Any = ds[SHAPE].value if SHAPE in ds else ""
        text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
        shape = text.strip("\0 ")
    if shape and shape.upper() != "CYLINDRICAL":
        raise MedscoreError(
            f"the detector is {shape.lower()}", where=where,
            hint="use a scan with a cylindrical detector",
        )  # fmt: skip

"""Where the slices of an array lie: from what its file states, or from a spacing that is given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.volume import centred_affine
from medscore.errors import MedscoreError
from medscore.io.arrays import Arrays

SPACINGS = (
    "pixel_spacing_mm",
    "pixel_spacing",
    "PixelSpacing",
    "spacing_mm",
    "spacing",
    "voxel_size",
)
"""Names of arrays that state the spacing. Those of pixels are (rows, columns), as in DICOM; the
others are (columns, rows, slices)."""

POSITIONS = ("z_mm", "position_mm")
"""Names of arrays that state the position of each slice along the normal."""

SAME, EVEN = 1e-3, 0.02
"""Tolerance of pixel spacings, and of slice distances, as a share."""


def affine_of(
    path: Path,
    arrays: Arrays,
    kept: NDArray[np.int64],
    shape: Sequence[int],
    spacing: tuple[float, float, float] | None,
) -> tuple[NDArray[np.float64], list[str]]:
    """The map from voxels (column, row, slice) to RAS mm, and notes on it.

    Slices whose position is not stated are centred at the origin.

    Args:
        path: the file, for messages.
        arrays: its arrays.
        kept: indices of the slices that are read.
        shape: (slices, rows, columns) of all slices.
        spacing: spacing in mm that was given; it is refused if the file states one.

    Raises:
        MedscoreError: no spacing is known, it is stated twice, is not valid, or differs by slice.
    """
    stated = next((name for name in ("affine", *SPACINGS) if name in arrays.shapes), None)
    if stated is not None and spacing is not None:
        raise MedscoreError(
            f"`spacing` is given, but the file states {stated}", where=path, hint="leave it out"
        )
    if stated == "affine":
        return _stated_affine(path, arrays, kept), []
    if spacing is None and stated is None:
        raise MedscoreError(
            "does not state the spacing of its pixels", where=path, hint="set `spacing`, in mm"
        )
    notes: list[str] = []
    step: float | None
    if spacing is not None:
        column, row, step = spacing
    else:
        column, row, step = _stated(path, stated or "", arrays, kept, shape[0])
    first, gap = _positions(arrays, kept, shape[0], notes)
    step = gap or step or _thickness(arrays, kept, shape[0])
    if step is None:
        notes.append("the file states no distance of its slices: 1 mm is used")
        step = 1.0
    affine = centred_affine(shape[1], shape[2], (column, row, 1.0))
    directions = _directions(arrays, kept, shape[0])
    if directions is not None:
        affine = _turned(affine, directions)
    first = step * int(kept[0]) if first is None else first
    affine[:3, 3] += first * affine[:3, 2]
    affine[:3, 2] *= step  # below zero where the slices descend
    return affine, notes


def _stated_affine(path: Path, arrays: Arrays, kept: NDArray[np.int64]) -> NDArray[np.float64]:
    affine = np.asarray(arrays.read("affine"), dtype=np.float64)
    if (
        affine.shape != (4, 4)
        or not np.isfinite(affine).all()
        or not np.allclose(affine[3], (0, 0, 0, 1))
        or abs(np.linalg.det(affine)) < 1e-12
    ):
        raise MedscoreError(
            "its affine is no map from voxels (column, row, slice) to mm", where=path,
            hint="save a 4 x 4 matrix",
        )  # fmt: skip
    made = affine.copy()
    made[:3, 3] += (kept[0] if len(kept) else 0) * affine[:3, 2]
    return made


def _stated(
    path: Path, name: str, arrays: Arrays, kept: NDArray[np.int64], count: int
) -> tuple[float, float, float | None]:
    """Distance between columns, rows and, if stated, slices."""
    found = np.asarray(arrays.read(name), dtype=np.float64)
    found = found if found.ndim == 2 and len(found) == count > 1 else found.ravel()
    of_pixels = name in SPACINGS[:3]
    each: Any
    if found.ndim == 2:
        each = found[kept]
    elif of_pixels and len(found) == count and (count > 3 or count == 1):
        each = found[kept][:, None]
    else:
        each = found[None]
    if not len(each) or not ((each > 0) & (each < 1e4)).all() or each.shape[1] not in (1, 2, 3):
        raise MedscoreError(
            f"{name} is {each.ravel()[:3]}", where=path, hint="save millimetres, above 0"
        )
    if np.ptp(each, axis=0).max() > SAME * each.min():
        raise MedscoreError(
            f"the slices have pixels of {each.min():.4g} to {each.max():.4g} mm", where=path,
            hint="choose slices of one spacing with `slices`, or a patient with `series`",
        )  # fmt: skip
    numbers = [float(number) for number in each[0]]
    if len(numbers) == 1:
        return numbers[0], numbers[0], None
    if of_pixels:
        numbers[:2] = numbers[1], numbers[0]
    return numbers[0], numbers[1], numbers[2] if len(numbers) == 3 else None


def _positions(
    arrays: Arrays, kept: NDArray[np.int64], count: int, notes: list[str]
) -> tuple[float | None, float | None]:
    """Position of the first slice if stated, and the distance of neighbours, negative if they
    descend; of uneven slices their median."""
    found = _each(arrays, POSITIONS, kept, count)
    if found is None or not np.isfinite(found).all():
        return None, None
    gaps = np.diff(found)
    if not len(gaps):
        return float(found[0]), None
    middle = float(np.median(gaps))
    if middle and np.abs(gaps - middle).max() <= EVEN * abs(middle):
        return float(found[0]), middle
    near = float(np.median(np.abs(gaps))) or None
    notes.append(
        f"the slices lie {np.abs(gaps).min():g} to {np.abs(gaps).max():g} mm apart; the output "
        "places them evenly"
    )
    return float(found[0]), near


def _thickness(arrays: Arrays, kept: NDArray[np.int64], count: int) -> float | None:
    found = _each(arrays, ("slice_thickness_mm",), kept, count)
    if found is None or not math.isfinite(float(found.sum())) or not (found > 0).all():
        return None
    return float(np.median(found))


def _each(
    arrays: Arrays, names: Sequence[str], kept: NDArray[np.int64], count: int
) -> NDArray[np.float64] | None:
    """The number of each slice under one of the names, if there is one."""
    for name in names:
        if name in arrays.shapes and math.prod(arrays.shapes[name]) == count:
            return np.asarray(arrays.read(name), dtype=np.float64).ravel()[kept]
    return None


def _directions(arrays: Arrays, kept: NDArray[np.int64], count: int) -> NDArray[np.float64] | None:
    """The common directions of rows and columns, LPS, as DICOM's ImageOrientationPatient."""
    if arrays.shapes.get("orientation") != (count, 6):
        return None
    found = np.asarray(arrays.read("orientation"), dtype=np.float64)[kept].reshape(-1, 2, 3)
    if not len(found) or np.abs(found - found[0]).max() > SAME:
        return None
    valid = np.allclose(found[0] @ found[0].T, np.eye(2), atol=1e-2)
    return found[0] if valid else None


def _turned(affine: NDArray[np.float64], directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """An affine of axial slices, turned to other directions."""
    column, row = directions
    turn = np.array([column, row, np.cross(column, row)]).T  # from the axes of axial slices, LPS
    flip = np.diag([-1.0, -1.0, 1.0])
    made = affine.copy()
    made[:3] = flip @ turn @ flip @ affine[:3]
    return made

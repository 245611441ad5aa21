"""Images in NumPy and MATLAB files: an array (slices, rows, columns) or (rows, columns).

Further arrays state what the values alone do not: ``pixel_spacing_mm`` as DICOM does (between rows,
between columns; also one of each slice), ``spacing`` (between columns, rows and slices),
``affine`` from (column, row, slice) to RAS mm, ``z_mm`` or ``position_mm`` of the slices,
``slice_thickness_mm``, ``modality``, and ``patient`` and ``contrast`` of each slice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.formats.array_geometry import affine_of
from medscore.datasets.selection import Selection
from medscore.datasets.volume import Source, Volume, check_values
from medscore.errors import MedscoreError
from medscore.io.array_files import open_arrays
from medscore.io.arrays import ONLY, Arrays
from medscore.io.budget import check_memory
from medscore.io.opening import file_sha256, is_regular

ENDINGS = (".npy", ".npz", ".mat")
"""Endings of the names of files of arrays that may be images."""

NAMES = ("hu", "image", "images", "volume", "vol", "img", "recon", "reconstruction", "data")
"""Names under which the image is looked for, in this order."""

SIDE = 8
"""Pixels per side of the smallest image."""


def is_array_file(path: Path) -> bool:
    """True if a file is of NumPy or MATLAB arrays by its name.

    Args:
        path: any file.
    """
    return path.name.lower().endswith(ENDINGS)


def holds_image(path: Path) -> bool:
    """True if a file of arrays holds one of an image: of real numbers, with 2 or 3 axes.

    Damaged archives count as images, whose reader says what is wrong.

    Args:
        path: any file.
    """
    if not (is_regular(path) and is_array_file(path)):
        return False
    try:
        with open_arrays(path) as arrays:
            shapes = arrays.shapes
    except MedscoreError:
        return not path.name.lower().endswith(".npy")  # whose other reader is that of k-space
    low = {name.lower() for name, shape in shapes.items() if len(shape) in (2, 3)}
    return bool(low & {*NAMES, ONLY}) or any(map(_is_image, shapes.values()))


def slice_count(path: Path, chosen: Selection) -> int:
    """Number of slices that ``slices`` chooses from.

    Args:
        path: file of arrays.
        chosen: which array and series.

    Raises:
        MedscoreError: the file is damaged or holds no image.
    """
    with open_arrays(path) as arrays:
        name = _name(path, arrays, chosen.array)
        kept = _of_series(path, arrays, name, chosen.series)
    return len(kept)


def read_array_image(path: str | Path, chosen: Selection) -> Volume:
    """Read an image from a .npy, .npz or .mat file.

    Args:
        path: the file.
        chosen: what is read of it, and what it does not state.

    Raises:
        MedscoreError: it is damaged, holds no array of that name or none of an image, does not
            state its spacing, or its slices are of several patients or pixel spacings.
    """
    path = Path(path)
    with open_arrays(path) as arrays:
        name = _name(path, arrays, chosen.array)
        kept = _of_series(path, arrays, name, chosen.series)
        if chosen.slices is not None:
            kept = kept[slice(*chosen.slices)]
        if not len(kept) or not all(arrays.entry(name).shape):
            raise MedscoreError("the image has no pixels", where=path, hint="export it again")
        values, notes = _stack(path, arrays, name)
        patients = _labels(arrays, "patient", len(values))
        if patients is not None and chosen.series is None and chosen.slices is None:
            _check_one(path, patients)
        affine, more = affine_of(path, arrays, kept, values.shape, chosen.spacing)
        with np.errstate(over="ignore"):  # becomes infinite, which is refused
            made = np.ascontiguousarray(values[kept], dtype=np.float32)
        modality = _modality(arrays, name)
    if made.shape[1] < 2 or made.shape[2] < 2:
        raise MedscoreError(f"has shape {made.shape}", where=path, hint="use an image")
    check_values(made, path)
    notes = [*notes, *more]
    if patients is not None and len(set(patients[kept])) > 1:
        notes.append(f"the slices are of {len(set(patients[kept]))} patients")
    taken = Selection(slices=_range(kept, len(values)))
    source = Source("array", file_sha256(path), notes=tuple(notes), taken=taken)
    return Volume(made, affine, modality, source)


def _range(kept: NDArray[np.int64], count: int) -> tuple[int, int] | None:
    """The slices of the file that were read, if they are not all of them and have no gaps."""
    first, stop = int(kept[0]), int(kept[-1]) + 1
    return None if len(kept) in (count, 0) or stop - first != len(kept) else (first, stop)


def _name(path: Path, arrays: Arrays, wanted: str | None) -> str:
    """The array that is the image."""
    shapes = arrays.shapes
    if wanted is not None:
        if ONLY in arrays.top:
            raise MedscoreError(
                f"`array` is {wanted!r:.60}, which applies to .npz and .mat files", where=path,
                hint="leave it out",
            )  # fmt: skip
        found = wanted if wanted in arrays.top else arrays.spelled(wanted)
        if found is None or arrays.entry(found).kind not in "iuf":
            what = "not there" if found is None else arrays.entry(found).type
            raise MedscoreError(
                f"`array` is {wanted!r:.60}, which is {what}", where=path,
                hint=f"use one of: {_listed(arrays)}",
            )  # fmt: skip
        return found
    images = [name for name, shape in shapes.items() if _is_image(shape)]
    named = [name for name, shape in shapes.items() if len(shape) in (2, 3)]
    low = {name.lower(): name for name in reversed(named)}
    for name in NAMES:
        if name in low:
            return low[name]
    if len(images) == 1:
        return images[0]
    if images:
        raise MedscoreError(
            f"holds {len(images)} arrays that may be the image: {', '.join(images[:6])}",
            where=path, hint="choose one with `array`",
        )  # fmt: skip
    raise MedscoreError(
        f"holds no array (slices, rows, columns) of real numbers: {_listed(arrays)}",
        where=path, hint="save the image under the name image; k-space and sinograms are measured",
    )  # fmt: skip


def _is_image(shape: Sequence[int]) -> bool:
    return len(shape) in (2, 3) and min(shape) > 0 and sorted(shape)[-2] >= SIDE


def _listed(arrays: Arrays) -> str:
    shown = [f"{_shown(n)} {'x'.join(map(str, shape))}" for n, shape in arrays.shapes.items()]
    shown += [f"{_shown(n)} ({kind})" for n, kind in arrays.others.items()]
    return ", ".join(shown[:6]) or "it is empty"


def _shown(name: str) -> str:
    return name or "the array"


def _stack(path: Path, arrays: Arrays, name: str) -> tuple[NDArray[Any], list[str]]:
    """Slices (slices, rows, columns); MATLAB users put slices last, where they are fewer."""
    values = arrays.read(name)
    if values.ndim == 2:
        values = values[None]
    if values.ndim != 3:
        raise MedscoreError(
            f"{_shown(name)} has shape {values.shape}, expected (slices, rows, columns)",
            where=path, hint="save one volume",
        )  # fmt: skip
    if path.name.lower().endswith(".mat") and values.shape[2] < min(values.shape[:2]):
        return np.moveaxis(values, 2, 0), [f"the slices of {name} lie along its last axis"]
    return values, []


def _count(path: Path, shape: Sequence[int]) -> int:
    """Number of slices of an array of this shape, as :func:`_stack` arranges it."""
    if len(shape) == 2:
        return 1
    last = path.name.lower().endswith(".mat") and shape[2] < min(shape[:2])
    return int(shape[2] if last else shape[0])


def _of_series(path: Path, arrays: Arrays, name: str, wanted: str | None) -> NDArray[np.int64]:
    """Indices of the slices of the chosen series."""
    shape = arrays.entry(name).shape
    if len(shape) not in (2, 3):
        raise MedscoreError(
            f"{_shown(name)} has shape {shape}, expected (slices, rows, columns)",
            where=path, hint="save one volume",
        )  # fmt: skip
    check_memory(4 * math.prod(shape), path, "values")
    count = _count(path, shape)
    every = np.arange(count)
    if wanted is None:
        return every
    patients = _labels(arrays, "patient", count)
    if patients is None:
        raise MedscoreError(
            f"`series` is {wanted!r:.60}, but the file states no patient of its slices",
            where=path, hint="leave it out",
        )  # fmt: skip
    contrasts = _labels(arrays, "contrast", count)
    full = patients if contrasts is None else np.char.add(np.char.add(patients, " "), contrasts)
    low = wanted.lower()
    for hit in (patients == wanted, full == wanted, np.char.find(np.char.lower(full), low) >= 0):
        if hit.any():
            _check_one(path, patients[hit])
            return every[hit]
    raise MedscoreError(
        f"`series` is {wanted!r:.60}, which is no patient of the file", where=path,
        hint=f"use one of: {_first(patients)}",
    )  # fmt: skip


def _check_one(path: Path, patients: NDArray[Any]) -> None:
    if len(set(patients)) > 1:
        raise MedscoreError(
            f"holds slices of {len(set(patients))} patients: {_first(patients)}", where=path,
            hint="choose one with `series`, or slices with `slices`",
        )  # fmt: skip


def _first(patients: NDArray[Any]) -> str:
    names = list(dict.fromkeys(map(str, patients)))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _labels(arrays: Arrays, name: str, count: int) -> NDArray[Any] | None:
    """Text of each slice, if the file has one."""
    found = _text(arrays, name)
    if found is None:
        return None
    texts = np.char.strip(found.astype(str).ravel())
    if len(texts) == 1:
        texts = np.repeat(texts, count)
    return texts if len(texts) == count else None


def _text(arrays: Arrays, name: str) -> NDArray[Any] | None:
    """An array of texts; None if there is none of that name."""
    entry = arrays.top.get(name)
    return arrays.read(name) if entry is not None and entry.kind in "SU" else None


def _modality(arrays: Arrays, name: str) -> str:
    stated = _text(arrays, "modality")
    text = "" if stated is None or not stated.size else str(stated.ravel()[0]).strip().upper()
    if text in ("CT", "MR", "MRI"):
        return text[:2]
    if name.lower() == "hu":
        return "CT"
    return "MR" if "contrast" in arrays.others else "unknown"

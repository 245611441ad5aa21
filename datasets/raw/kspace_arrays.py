"""k-space in NumPy, MATLAB and HDF5 files that state nothing but values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.raw.bart import assembled
from medscore.datasets.raw.kspace import (
    RawKspace,
    averaged,
    single_precision,
)
from medscore.datasets.raw.kspace_layout import USUAL, KspaceLayout
from medscore.errors import MedscoreError
from medscore.io.array_files import open_arrays
from medscore.io.arrays import ONLY, Arrays

ORDER = ("slice", "average", "partition", "coil", "readout", "phase")
"""The axes as they are put."""

AGREES = 0.5
"""Largest relative difference of reference lines from samples at the same places."""


def read_array(path: str | Path, *, layout: KspaceLayout) -> RawKspace:
    """Read an array of complex k-space, centred.

    Args:
        path: NumPy, MATLAB or HDF5 file.
        layout: name of the array, its axes, and what the file does not record.

    Raises:
        MedscoreError: the file cannot be read, holds objects or real numbers, several arrays
            without a name, another number of axes, or invalid values.
    """
    path = Path(path)
    with open_arrays(path, hint="save it with numpy.save") as arrays:
        alone = layout.array is None and ONLY in arrays.top
        name = ONLY if alone else arrays.one(layout.array, (2, 3, 4, 5, 6), "c")
        kspace = _ordered(arrays, name, layout)
        notes: list[str] = []
        if layout.reference is not None:
            extra = _ordered(arrays, arrays.named(layout.reference), layout)
            kspace, note = _completed(kspace, extra, path)
            notes.append(note)
    return assembled(averaged(kspace, axis=1), layout, notes, path, path)


def _ordered(arrays: Arrays, name: str, layout: KspaceLayout) -> NDArray[np.complex64]:
    """The array in the order of ``ORDER``."""
    stored = arrays.read(name)
    where = arrays.where
    if stored.dtype.kind != "c":
        raise MedscoreError(
            f"holds {stored.dtype}, expected complex k-space",
            where=where,
            hint="use a complex .npy array",
        )
    if not stored.size:
        raise MedscoreError(
            f"k-space has shape {stored.shape}", where=where, hint="use 8 x 8 samples or more"
        )
    axes = layout.axes
    if axes is None:
        if not 2 <= stored.ndim <= 4:
            raise MedscoreError(
                f"has shape {stored.shape}", where=where,
                hint="set axes in the geometry, such as [slice, coil, readout, phase]",
            )  # fmt: skip
        axes = USUAL[4 - stored.ndim :]
    if len(axes) != stored.ndim:
        raise MedscoreError(
            f"has shape {stored.shape}, and axes names {len(axes)}", where=where,
            hint="name every axis",
        )  # fmt: skip
    held = [name for name in ORDER if name in axes]
    placed: NDArray[Any] = stored.transpose([axes.index(name) for name in held])
    for place, missing in enumerate(ORDER):
        if missing not in axes:
            placed = np.expand_dims(placed, place)
    return single_precision(np.ascontiguousarray(placed), where)


def _completed(
    kspace: NDArray[np.complex64], extra: NDArray[np.complex64], where: Path
) -> tuple[NDArray[np.complex64], str]:
    """k-space with reference lines where it was not measured, and what to note.

    The lines are put where they agree best with samples at the same places, or else in the middle.
    """
    room = kspace.shape[-1] - extra.shape[-1]
    if kspace.shape[:-1] != extra.shape[:-1] or room < 0:
        raise MedscoreError(
            f"reference lines of shape {extra.shape} do not fit k-space of {kspace.shape}",
            where=where, hint="give both arrays the same axes",
        )  # fmt: skip
    middle = kspace.shape[-1] // 2 - extra.shape[-1] // 2
    gaps = [_gap(kspace[..., k : k + extra.shape[-1]], extra) for k in range(room + 1)]
    start = middle if min(gaps) == np.inf else int(np.argmin(gaps))
    if np.inf > gaps[start] > AGREES:
        raise MedscoreError(
            f"reference lines differ by {100 * gaps[start]:.0f} % from samples at the same places",
            where=where, hint="leave reference out, if they are of another scan",
        )  # fmt: skip
    made = kspace.copy()
    part = made[..., start : start + extra.shape[-1]]
    part[...] = np.where(part == 0, extra, part)
    note = f"reference lines fill the phase encodings {start} to {start + extra.shape[-1] - 1}"
    if gaps[start] < np.inf:
        note += f"; they differ by {100 * gaps[start]:.0f} % from samples at the same places"
    return made, note


def _gap(part: NDArray[np.complex64], extra: NDArray[np.complex64]) -> float:
    """Relative difference where both were measured; infinite where none was."""
    both = (part != 0) & (extra != 0)
    if not both.any():
        return float(np.inf)
    return float(np.linalg.norm((part - extra)[both]) / np.linalg.norm(part[both]))

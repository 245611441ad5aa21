"""What is read of a file that holds more than one image, and what is done to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medscore.datasets.dicom.kinds import KINDS
from medscore.errors import MedscoreError
from medscore.numeric import is_whole


@dataclass(frozen=True)
class Selection:
    """The part of a file or folder that is read.

    Attributes:
        series: UID or description of a DICOM series, or a part of it, in a folder with several.
        resample: interpolate uneven or tilted DICOM slices onto an even, upright grid.
        channel: volume of a 4-D file, from 0.
        accept: kinds of images besides magnitudes and CT numbers of slices that are wanted, keys of
            :data:`~medscore.datasets.dicom.kinds.KINDS`.
        array: name of the array in a NumPy or MATLAB file with several.
        spacing: distance between columns, rows and slices in mm, for files that do not state it.
        slices: first slice and the one after the last of an array.
    """

    series: str | None = None
    resample: bool = False
    channel: int | None = None
    accept: tuple[str, ...] = ()
    array: str | None = None
    spacing: tuple[float, float, float] | None = None
    slices: tuple[int, int] | None = None


Spacing = float | Sequence[float]
"""One number for all axes, or those between columns, rows and perhaps slices."""

WHOLE = Selection()
"""The only image of a file, as it is."""


def refuse_choices(chosen: Selection, path: Path) -> None:
    """Reject what a file of slices, which holds neither series nor volumes, has no use for.

    Args:
        chosen: the selection.
        path: the file.

    Raises:
        MedscoreError: a series, channel or resampling is chosen.
    """
    for name in ("series", "resample", "channel", "array", "spacing"):
        value = getattr(chosen, name)
        if value not in (None, False):
            raise MedscoreError(
                f"`{name}` is {value!r:.80}, which applies to images of other files", where=path,
                hint="leave it out",
            )  # fmt: skip


def selection(
    series: Any = None,
    resample: Any = False,
    channel: Any = None,
    accept: Any = (),
    array: Any = None,
    spacing: Any = None,
    slices: Any = None,
) -> Selection:
    """Check the parameters of a :class:`Selection`.

    Args:
        series: see :class:`Selection`.
        resample: see :class:`Selection`.
        channel: see :class:`Selection`.
        accept: one kind or several.
        array: see :class:`Selection`.
        spacing: one number for all axes, or those between columns, rows and perhaps slices.
        slices: see :class:`Selection`.

    Raises:
        MedscoreError: a parameter has the wrong type, or a kind is unknown.
    """
    if series is not None and not isinstance(series, str):
        raise MedscoreError(
            f"`series` is {series!r:.80}", hint="use the UID or description of a DICOM series"
        )
    if not isinstance(resample, bool):
        raise MedscoreError(f"`resample` is {resample!r:.80}", hint="use True or False")
    if channel is not None and not is_whole(channel):
        raise MedscoreError(f"`channel` is {channel!r:.80}", hint="use a whole number from 0")
    kinds = (accept,) if isinstance(accept, str) else accept
    if not isinstance(kinds, Sequence) or not set(kinds) <= set(KINDS):
        raise MedscoreError(
            f"`accept` is {accept!r:.80}", hint=f"use one or more of: {', '.join(KINDS)}"
        )
    if array is not None and not isinstance(array, str):
        raise MedscoreError(f"`array` is {array!r:.80}", hint="use the name of an array")
    return Selection(
        series, resample, channel, tuple(dict.fromkeys(kinds)), array, _spacing(spacing), slices
    )


def _spacing(spacing: Any) -> tuple[float, float, float] | None:
    """Distances between columns, rows and slices; those of slices are the first if not given."""
    if spacing is None:
        return None
    numbers = spacing if isinstance(spacing, Sequence) else (spacing,)
    try:
        found = [float(number) for number in numbers]
    except (TypeError, ValueError):
        found = []
    if len(found) not in (1, 2, 3) or not all(0 < mm < 1e4 for mm in found):
        raise MedscoreError(
            f"`spacing` is {spacing!r:.80}", hint="use one, two or three numbers in mm, above 0"
        )
    column, row = found[0], found[min(1, len(found) - 1)]
    return column, row, found[2] if len(found) == 3 else column

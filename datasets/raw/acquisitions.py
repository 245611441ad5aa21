"""Which acquisitions of an ISMRMRD or twix file are lines of the image, and of which image.

Flags tell image lines from calibration and other data (ismrmrd.h, ISMRMRD_AcquisitionFlags), the
encoding space and the counters contrast, phase, set and repetition one image from another. Only
averages, and segments that share no line, belong to one image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medscore.errors import MedscoreError

CALIBRATION, CALIBRATION_AND_IMAGING, REVERSE, PHASE_CORRECTION = 20, 21, 22, 24
COIL_CORRECTION = 29
COMPRESSED = (53, 54, 55, 56)
"""Numbers of flags; flag n is bit n - 1."""

NOISE = 19

NOT_IMAGE = {
    NOISE: "noise measurement",
    27: "dummy scan",
    PHASE_CORRECTION: "phase correction",
    23: "navigation",
    28: "real-time feedback",
    26: "HP feedback",
    30: "phase stabilization reference",
    31: "phase stabilization",
}
"""Flags of acquisitions that are no lines of an image. A line with several counts as the first."""

COUNTERS = ("contrast", "phase", "set", "repetition")
"""Counters whose values are different images."""

CHOICES = ("encoding", *COUNTERS, "segment")
"""What ``select`` can choose: an encoding space, or the value of a counter."""


@dataclass(frozen=True)
class Lines:
    """The acquisitions of one image.

    Attributes:
        image: its lines.
        calibration: separate calibration lines of the same encoding space and counters.
        encoding: index of their encoding space.
        notes: what was left out or chosen.
    """

    image: list[Any]
    calibration: list[Any]
    encoding: int
    notes: tuple[str, ...]


def has_flag(line: Any, number: int) -> bool:
    """True if a flag of an acquisition is set.

    Args:
        line: acquisition.
        number: number of the flag, from 1.
    """
    return bool(int(line.flags) >> (number - 1) & 1)


def select_lines(
    acquisitions: Sequence[Any], select: Mapping[str, int] | None, where: Path, *, first: bool
) -> Lines:
    """Find the lines of one image.

    Args:
        acquisitions: all acquisitions of a file.
        select: encoding space, and values of counters, by the names in ``CHOICES``.
        where: file to name in errors.
        first: take the first of several images and note it, instead of refusing the file.

    Raises:
        MedscoreError: there are no image lines, several images of which none is selected, no lines
            with the selected values, or lines that cannot be used.
    """
    wanted = dict(select or {})
    lines, calibration, left_out = _sorted(acquisitions)
    if lines:
        left_out.pop(NOT_IMAGE[NOISE], None)  # prewhitening says what becomes of it
    if not lines:
        raise MedscoreError(
            "holds no image lines" + (f", only {_listed(left_out)}" if left_out else ""),
            where=where,
            hint="export it again",
        )
    spaces = sorted({line.encoding_space_ref for line in lines})
    space = wanted.pop("encoding", spaces[0])
    _check_there("encoding", space, spaces, where)
    other = [line for line in lines if line.encoding_space_ref != space]
    lines = [line for line in lines if line.encoding_space_ref == space]
    if other:
        left_out[f"image lines of encoding space {_numbers(spaces, without=space)}"] = len(other)
    chosen = {}
    several = {}
    for name in (*COUNTERS, "segment"):
        values = sorted({getattr(line.idx, name) for line in lines})
        if name in wanted:
            _check_there(name, wanted[name], values, where)
            chosen[name] = wanted[name]
        elif len(values) > 1 and (name != "segment" or _share_lines(lines)):
            chosen[name], several[name] = values[0], values
        lines = [
            line for line in lines if getattr(line.idx, name) == chosen.get(name, _of(line, name))
        ]
    if several and not first:
        raise _ambiguous(several, where)
    fitting = [
        line
        for line in calibration
        if line.encoding_space_ref == space
        and all(getattr(line.idx, n) == v for n, v in chosen.items() if n in COUNTERS)
    ]
    if len(fitting) < len(calibration):
        left_out["separate calibration"] = len(calibration) - len(fitting)
    _check_usable(lines, acquisitions, where)
    notes = [f"left out: {_listed(left_out)}"] if left_out else []
    if several:
        which = ", ".join(f"{len(v)} {n}s ({_numbers(v)})" for n, v in several.items())
        notes.append(f"there are {which}: this is the first, and measuring needs `select`")
    return Lines(lines, fitting, space, tuple(notes))


def _sorted(acquisitions: Sequence[Any]) -> tuple[list[Any], list[Any], Counter[str]]:
    """Image lines, separate calibration lines, and the number of others by kind."""
    lines, calibration, left_out = [], [], Counter[str]()
    for line in acquisitions:
        kind = next((words for flag, words in NOT_IMAGE.items() if has_flag(line, flag)), None)
        if kind is not None:
            left_out[kind] += 1
        elif has_flag(line, CALIBRATION) and not has_flag(line, CALIBRATION_AND_IMAGING):
            calibration.append(line)
        else:
            lines.append(line)
    # Converters set this flag for lines whose coils are to be rescaled, too: then all have it.
    flagged = [line for line in lines if has_flag(line, COIL_CORRECTION)]
    if len(flagged) < len(lines):
        if flagged:
            left_out["surface coil correction"] += len(flagged)
        lines = [line for line in lines if not has_flag(line, COIL_CORRECTION)]
        kept = [line for line in calibration if not has_flag(line, COIL_CORRECTION)]
        if len(kept) < len(calibration):
            left_out["surface coil correction"] += len(calibration) - len(kept)
        calibration = kept
    return lines, calibration, left_out


def _share_lines(lines: list[Any]) -> bool:
    """True if several segments measured the same line of the same average."""
    segments: dict[tuple[int, int, int], set[int]] = {}
    for line in lines:
        place = (line.idx.slice, line.idx.kspace_encode_step_1, line.idx.average)
        segments.setdefault(place, set()).add(line.idx.segment)
    return any(len(found) > 1 for found in segments.values())


def _check_usable(lines: list[Any], acquisitions: Sequence[Any], where: Path) -> None:
    """Reject lines that cannot be put together to one image."""
    coils = sorted({len(line.data) for line in lines})
    if len(coils) > 1:
        raise MedscoreError(
            f"the image lines have {_numbers(coils)} coils", where=where, hint="export it again"
        )
    if any(has_flag(line, flag) for line in lines for flag in COMPRESSED):
        raise MedscoreError(
            "the image lines are compressed", where=where, hint="export them uncompressed"
        )
    reversed_ = sum(has_flag(line, REVERSE) for line in lines)
    corrects = any(has_flag(line, PHASE_CORRECTION) for line in acquisitions)
    if 0 < reversed_ < len(lines) and corrects:
        raise MedscoreError(
            f"{reversed_} of {len(lines)} lines were read in reverse and the scan has phase "
            "correction data, as EPI has, and phase correction is not implemented",
            where=where,
            hint="correct the phase first, or use a scan without reversed lines",
        )


def _check_there(name: str, value: int, values: list[int], where: Path) -> None:
    if value not in values:
        raise MedscoreError(
            f"`select` asks for {name}={value}, the image lines have {_numbers(values)}",
            where=where,
            hint=f"use {name}={values[0]}",
        )


def _ambiguous(several: dict[str, list[int]], where: Path) -> MedscoreError:
    which = " and ".join(f"{len(v)} {name}s ({_numbers(v)})" for name, v in several.items())
    one = ",".join(f"{name}={values[0]}" for name, values in several.items())
    return MedscoreError(
        f"the image lines belong to {which}, which are different images",
        where=where,
        hint=f"set `select` to one, such as {one}",
    )


def _of(line: Any, name: str) -> int:
    return int(getattr(line.idx, name))


def _numbers(values: Sequence[int], without: int | None = None) -> str:
    shown = [str(value) for value in values if value != without]
    return ", ".join(shown if len(shown) <= 6 else [*shown[:5], "...", shown[-1]])


def _listed(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items())

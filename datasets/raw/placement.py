"""Lines of an ISMRMRD or twix scan on the grid of the encoded matrix.

A line's encoding step, counted from the centre in the header's encoding limits, gives its column.
Its samples are placed by ``center_sample``, the index of the sample at the centre of k-space, after
``discard_pre`` samples at its beginning and ``discard_post`` at its end were left out; all three
count in the order of acquisition. A line with the flag ``ACQ_IS_REVERSE`` ran through k-space
backwards, so its samples are put down in reverse, and sample c of n becomes n - 1 - c.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.raw.acquisitions import REVERSE, Lines, has_flag
from medscore.datasets.raw.encoding import Encoding
from medscore.errors import MedscoreError

SEPARATE = ("separate", "external", "other")
"""Calibration modes whose lines are of another scan, with contrast and phase of its own."""

AGREES = 0.25
"""Largest relative difference from image lines of calibration lines that may complement them."""

ECHO = 10.0
"""A reversed line whose largest sample has this multiple of the power at the stated centre is not
centred where it should be."""


@dataclass(frozen=True)
class Placed:
    """k-space on the grid.

    Attributes:
        kspace: (slices, coils, ky, kx) complex64, zero where nothing was measured.
        sampled: mask of the measured samples, (slices, ky, kx).
        notes: what was averaged, filled in or left out.
        count: number of measurements of each sample, at least 1, (slices, ky, kx).
    """

    kspace: NDArray[np.complex64]
    sampled: NDArray[np.bool_]
    notes: tuple[str, ...]
    count: NDArray[np.uint16]


@dataclass(frozen=True)
class _Grid:
    """Sums of lines, and their number at each sample."""

    total: NDArray[np.complex64]
    count: NDArray[np.uint16]

    @classmethod
    def empty(cls, shape: tuple[int, int, int, int]) -> _Grid:
        slices, _, ny, nx = shape
        return cls(np.zeros(shape, np.complex64), np.zeros((slices, ny, nx), np.uint16))

    def mean(self) -> NDArray[np.complex64]:
        number = np.maximum(self.count, 1).astype(np.float32)
        found: NDArray[np.complex64] = self.total / number[:, None]
        return found


def place(lines: Lines, encoding: Encoding, where: Path) -> Placed:
    """Place the lines of one image, averaging those that were measured several times.

    Separate calibration lines fill places without image lines, and are not averaged with them. They
    are left out if they are of another scan: by the header, or because they differ from the image
    lines at the same places.

    Args:
        lines: the lines.
        encoding: their encoding space.
        where: file to name in errors.

    Raises:
        MedscoreError: a line lies outside the encoded matrix, or reversed lines are not centred
            where they should be.
    """
    ny, nx, nz = encoding.matrix
    slices = 1 + max(line.idx.slice for line in lines.image)
    shape = (slices * max(1, nz), len(lines.image[0].data), ny, nx)
    grid = _Grid.empty(shape)
    _check_partitions(lines.image, encoding, where)
    _add(grid, lines.image, encoding, where)
    _check_echo(grid, lines.image, encoding, where)
    notes = []
    if int(grid.count.max()) > 1:
        notes.append("lines that were measured several times are averaged")
    kspace, sampled = grid.mean(), grid.count > 0
    calibration = [line for line in lines.calibration if line.idx.slice < slices]
    if calibration:
        extra = _Grid.empty(shape)
        _add(extra, calibration, encoding, where)
        holes = ~sampled.any(axis=1, keepdims=True) & (extra.count > 0)
        why = _unfit(kspace, sampled, extra, encoding)
        if not why:
            kspace += extra.mean() * holes[:, None]
            sampled |= holes
            notes.append(f"separate calibration lines fill {_columns(holes)} unmeasured line(s)")
        else:
            notes.append(f"separate calibration lines are left out: {why}")
    return Placed(kspace, sampled, tuple(notes), np.maximum(grid.count, 1))


def _unfit(
    kspace: NDArray[np.complex64], sampled: NDArray[np.bool_], extra: _Grid, encoding: Encoding
) -> str:
    """Why calibration lines cannot complement the image lines; empty if they can."""
    both = (sampled & (extra.count > 0))[:, None]
    if not both.any():
        stated = encoding.calibration in SEPARATE
        return f"the header states that they are {encoding.calibration}" if stated else ""
    peak = max(float(np.abs(kspace).max()), 1e-300)
    ours, theirs = kspace / peak * both, extra.mean() / peak * both
    gap = float(np.linalg.norm(theirs - ours)) / max(float(np.linalg.norm(ours)), 1e-300)
    return "" if gap <= AGREES else "they differ from the image lines at the same places"


def _add(grid: _Grid, lines: Sequence[Any], encoding: Encoding, where: Path) -> None:
    """Add lines to the sums; lines of zeros were not measured."""
    ny, nx = grid.count.shape[-2:]
    coils = grid.total.shape[1]
    late = _late(lines, ny)
    for line in lines:
        data, top = _oriented(line, ny, late)
        column = line.idx.kspace_encode_step_1 - encoding.centre + nx // 2
        plane = _plane(line, encoding)
        deep = max(1, encoding.matrix[2])
        if not (
            0 <= column < nx and top >= 0 and 0 < data.shape[1] <= ny - top and 0 <= plane < deep
        ):
            at = f"step {line.idx.kspace_encode_step_1}"
            at += f" of partition {line.idx.kspace_encode_step_2}" if deep > 1 else ""
            raise MedscoreError(
                f"a line of {data.shape[1]} samples at {at}, with its centre at sample "
                f"{line.center_sample}, lies outside the encoded {ny} x {nx}"
                + (f" x {deep}" if deep > 1 else ""),
                where=where,
                hint="export it again",
            )
        if len(data) != coils:
            raise MedscoreError(
                f"a calibration line has {len(data)} coils, the image lines have {coils}",
                where=where,
                hint="export it again",
            )
        if not np.isfinite(data).all():
            raise MedscoreError(
                "k-space holds NaN or infinity", where=where, hint="export it again"
            )
        if data.any():
            span = slice(top, top + data.shape[1])
            index = line.idx.slice * deep + plane
            grid.total[index, :, span, column] += data
            grid.count[index, span, column] += 1


def _plane(line: Any, encoding: Encoding) -> int:
    """Place of a line's partition, of which a scan of slices has one."""
    deep = encoding.matrix[2]
    if deep <= 1:
        return 0
    centre = deep // 2 if encoding.partition_centre is None else encoding.partition_centre
    return int(line.idx.kspace_encode_step_2) - centre + deep // 2


def _oriented(line: Any, ny: int, late: int) -> tuple[NDArray[np.complex64], int]:
    """The samples of a line by increasing ky, and the row of the first one."""
    stop = line.number_of_samples - line.discard_post
    data: NDArray[np.complex64] = line.data[:, line.discard_pre : stop]
    centre = line.center_sample - line.discard_pre
    if has_flag(line, REVERSE):
        data, centre = data[:, ::-1], data.shape[1] - 1 - centre + late
    return data, ny // 2 - centre


def _late(lines: Sequence[Any], ny: int) -> int:
    """How many samples after the centre of k-space ``center_sample`` of reversed lines lies.

    Some converters state n // 2 for both directions, which is one sample late in a reversed line
    with an even number of samples. A readout reaches an end of k-space, which tells the two apart.
    """
    reached = []
    turned = [line for line in lines if has_flag(line, REVERSE)]
    for late in (0, 1):
        placed = [_oriented(line, ny, late) for line in turned]
        spans = [(top, top + data.shape[1]) for data, top in placed]
        fits = all(first >= 0 and stop <= ny for first, stop in spans)
        reached.append(sum(first == 0 or stop == ny for first, stop in spans) if fits else -1)
    return int(reached[1] > reached[0])


def _check_echo(grid: _Grid, lines: Sequence[Any], encoding: Encoding, where: Path) -> None:
    """Reject reversed lines whose ``center_sample`` is not the place of their echo."""
    ny, nx = grid.count.shape[-2:]
    steps = {x.idx.kspace_encode_step_1 for x in lines if has_flag(x, REVERSE)}
    if not steps:
        return
    columns = [step - encoding.centre + nx // 2 for step in sorted(steps)]
    picked = grid.total[..., columns]
    scale = max(float(np.abs(picked).max()), 1e-300)
    power = (np.abs(picked.astype(np.complex128)) / scale) ** 2
    profile = power.sum(axis=(0, 1, 3))
    peak = int(profile.argmax())
    middle = float(profile[ny // 2 - 1 : ny // 2 + 2].max())
    if abs(peak - ny // 2) > ny / 8 and float(profile[peak]) > ECHO * middle:
        raise MedscoreError(
            f"reversed lines have their echo at sample {peak} of {ny}, and center_sample places it "
            f"at {ny // 2}",
            where=where,
            hint="export it with center_sample counted in the order of acquisition",
        )


def _check_partitions(lines: Sequence[Any], encoding: Encoding, where: Path) -> None:
    partitions = len({line.idx.kspace_encode_step_2 for line in lines})
    if encoding.matrix[2] <= 1 < partitions:
        raise MedscoreError(
            f"the lines belong to {partitions} partitions (kspace_encode_step_2), and the header "
            "states a scan of slices",
            where=where,
            hint="export it again",
        )


def _columns(mask: NDArray[np.bool_]) -> int:
    return int(mask.any(axis=1).sum())

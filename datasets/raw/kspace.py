"""Raw k-space as files hold it.

Readout lines run along ky, the first axis of the grid, so that a phase encoding is a column.
Samples that were not measured are zero; :func:`measured_samples` tells them from measured zeros.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.volume import Source
from medscore.errors import MedscoreError

RANGE = (1e-30, 1e30)
"""The largest modulus of k-space must lie within, so that sums stay in single precision."""

RARE = 0.01
"""Largest share of the samples of the lines that may be zeros by chance."""


@dataclass(frozen=True)
class RawKspace:
    """k-space as the scanner wrote it.

    Attributes:
        kspace: (slices, coils, ky, kx) complex64, centred, zero where it was not sampled.
        spacing: distance between columns, rows and slices in mm of the image of all of k-space;
            ``None`` where the file does not record it.
        oversampling: field of view along the readout (the rows of the image) over the intended one.
        source: hash and notes, without identity.
        sampled: mask of the measured samples, (slices, ky, kx).
        noise_std: standard deviation of the noise in the real and the imaginary part each, where a
            noise scan tells it.
        maps: coil sensitivities (slices or 1, coils, rows, columns) on the grid of k-space, where
            a file states them.
    """

    kspace: NDArray[np.complex64]
    spacing: tuple[float, float, float] | None
    oversampling: float
    source: Source
    sampled: NDArray[np.bool_]
    noise_std: float | None = None
    maps: NDArray[np.complex64] | None = None

    def select(self, start: int, stop: int) -> RawKspace:
        """Select a range of slices.

        Args:
            start: index of the first slice.
            stop: index after the last slice.
        """
        maps = self.maps if self.maps is None or len(self.maps) == 1 else self.maps[start:stop]
        return replace(
            self, kspace=self.kspace[start:stop], sampled=self.sampled[start:stop], maps=maps
        )


def measured_samples(kspace: NDArray[np.complex64]) -> NDArray[np.bool_]:
    """Mask (slices, ky, kx) of the samples that were measured, of files that hold only values.

    A readout measures all samples between its first and its last one, so zeros between them are
    values, and so are zeros at the ends if almost all lines have values there. Only where zeros are
    frequent inside the lines, as in a plane of two phase encodings, is every zero a missing sample.

    Args:
        kspace: (slices, coils, ky, kx), zero where nothing was measured.
    """
    values: NDArray[np.bool_] = (kspace != 0).any(axis=1)
    lines = between(values, axis=1)
    if np.count_nonzero(lines & ~values) > RARE * np.count_nonzero(lines):
        return values
    whole = np.logical_and(lines.any(axis=1, keepdims=True), lines.any(axis=(0, 2), keepdims=True))
    missing = np.count_nonzero(whole & ~lines)
    return whole if missing <= RARE * np.count_nonzero(whole) else lines


def between(values: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    """True from the first to the last true value of each line.

    Args:
        values: the lines.
        axis: axis along which they run.
    """
    begun = np.logical_or.accumulate(values, axis=axis)
    not_over = np.flip(np.logical_or.accumulate(np.flip(values, axis), axis=axis), axis)
    found: NDArray[np.bool_] = begun & not_over
    return found


def averaged(kspace: NDArray[np.complex64], axis: int) -> NDArray[np.complex64]:
    """Mean over repeated measurements of k-space, of those samples that are not zero.

    Args:
        kspace: k-space, zero where nothing was measured.
        axis: axis of the repetitions, which goes.
    """
    if kspace.shape[axis] == 1:
        return kspace.squeeze(axis)
    number = np.maximum((kspace != 0).sum(axis=axis), 1).astype(np.float32)
    mean: NDArray[np.complex64] = (kspace.sum(axis=axis) / number).astype(np.complex64)
    return mean


def single_precision(values: NDArray[Any], where: Path) -> NDArray[np.complex64]:
    """Convert k-space to single precision, whose range it must not leave.

    Args:
        values: complex numbers of any precision.
        where: file to name in the error.

    Raises:
        MedscoreError: values that are NaN, infinite, too large or all too small.
    """
    peak = float(np.abs(values).max(initial=0.0))
    if not math.isfinite(peak):
        raise MedscoreError("k-space holds NaN or infinity", where=where, hint="export it again")
    if peak > 0 and not RANGE[0] <= peak <= RANGE[1]:
        raise MedscoreError(
            f"k-space reaches {peak:.3g}, outside of {RANGE[0]:g} to {RANGE[1]:g}, which single "
            "precision can hold",
            where=where,
            hint="multiply it by a constant: magnitudes have no absolute unit",
        )
    return values.astype(np.complex64, copy=False)


def check_kspace(kspace: NDArray[Any], where: Path) -> None:
    """Reject k-space from which no image can be reconstructed.

    Args:
        kspace: (slices, coils, ky, kx).
        where: file to name in the error.

    Raises:
        MedscoreError: there are too few samples, or an empty slice.
    """
    if kspace.size == 0 or min(kspace.shape[-2:]) < 8:
        raise MedscoreError(
            f"k-space has shape {kspace.shape}", where=where, hint="use 8 x 8 samples or more"
        )
    empty = [i for i, one in enumerate(kspace) if not one.any()]
    if empty:
        raise MedscoreError(
            f"k-space is zero everywhere in slice {empty[0]}", where=where, hint="export it again"
        )

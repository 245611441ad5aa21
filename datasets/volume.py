"""A stack of image slices with its geometry, which every image reader returns and writer takes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.selection import WHOLE, Selection
from medscore.errors import MedscoreError

AIR = -1000.0
"""CT number of air in HU. Nothing attenuates less, so lower CT values are padding."""

AXES = tuple("".join(codes) for codes in product("LR", "PA", "SI"))
"""Directions of three axes in the order of display; files have them in any order."""

POSITIONS = ("HFP", "HFS", "HFDR", "HFDL", "FFDR", "FFDL", "FFP", "FFS")
"""Head or feet first, and prone, supine or on the right or left side (DICOM PS3.3 C.7.3.1.1.2)."""


@dataclass(frozen=True)
class Source:
    """Provenance of a volume; holds nothing that identifies a patient.

    Attributes:
        kind: "dicom", "nifti", "kspace", "projections" or "array".
        sha256: hash of the file bytes.
        uids: DICOM identifiers by keyword (study, series, frame of reference, class), if any.
        instances: SOPInstanceUID of each slice, if any.
        notes: what the reader noticed or changed, one sentence each.
        kinds: what the images are if not the magnitudes or CT numbers of slices
            (:data:`medscore.datasets.dicom.kinds.KINDS`).
        taken: what was read of the file; the series is among the identifiers.
        position: how the patient lay in the scanner, one of ``POSITIONS``, if it is known.
        axes: directions of the axes of the file, such as "RAS", in which outputs are written; empty
            for those of display.
    """

    kind: str
    sha256: str
    uids: dict[str, str] = field(default_factory=dict)
    instances: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    taken: Selection = WHOLE
    position: str = ""
    axes: str = ""


@dataclass(frozen=True)
class Volume:
    """A stack of image slices in display orientation: rows run down, columns to the right.

    Attributes:
        values: (slices, rows, columns) float32; HU for CT, the scanner's unit for MR.
        affine: (4, 4) map from voxel (column, row, slice) to patient coordinates in mm, RAS+.
        modality: "CT", "MR", or "unknown" (NIfTI does not record it).
        source: provenance.
    """

    values: NDArray[np.float32]
    affine: NDArray[np.float64]
    modality: str
    source: Source

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between columns, rows and slices in mm."""
        column, row, slice_ = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(column), float(row), float(slice_)

    def select(self, start: int, stop: int) -> Volume:
        """Select a range of slices and move the origin of the affine accordingly.

        Args:
            start: index of the first slice.
            stop: index after the last slice.
        """
        affine = self.affine.copy()
        affine[:3, 3] += start * affine[:3, 2]
        source = replace(self.source, instances=self.source.instances[start:stop])
        return replace(self, values=self.values[start:stop], affine=affine, source=source)


def check_values(values: NDArray[np.floating], where: str | Path | None = None) -> None:
    """Reject values from which no image can be reconstructed.

    Args:
        values: array of any shape.
        where: file to name in the error.

    Raises:
        MedscoreError: there are no pixels, NaN or infinite values, or all values are equal.
    """
    if values.size == 0:
        raise MedscoreError("the image has no pixels", where=where, hint="export it again")
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise MedscoreError(
            f"{bad} values are NaN or infinite", where=where, hint="replace them before use"
        )
    if values.min() == values.max():
        raise MedscoreError(
            f"the image is constant ({values.flat[0]:g})", where=where, hint="export it again"
        )


def centred_affine(
    height: int, width: int, spacing: tuple[float, float, float]
) -> NDArray[np.float64]:
    """Affine of axial slices centred at the origin, for data without a position in the scanner.

    Args:
        height: number of rows.
        width: number of columns.
        spacing: distance between columns, rows and slices in mm.
    """
    column, row, thickness = spacing
    affine = np.diag([-column, -row, thickness, 1.0])
    affine[:2, 3] = (width - 1) / 2 * column, (height - 1) / 2 * row
    return affine


def guess(volume: Volume) -> str:
    """Modality of a volume; where it is not recorded, CT if the values reach far below zero.

    Args:
        volume: slices of any modality.
    """
    if volume.modality != "unknown":
        return volume.modality
    return "CT" if float(volume.values.min()) < AIR / 2 else "MR"


def check_modality(
    volume: Volume, modality: str, where: str | Path | None = None, lowest: float | None = None
) -> Volume:
    """Check that a volume is CT in HU or MR magnitudes, as required, and record its modality.

    Args:
        volume: slices whose modality is recorded or unknown.
        modality: required modality, "CT" or "MR".
        where: file to name in the error.
        lowest: smallest value of the whole scan, if ``volume`` is only a part of it.

    Raises:
        MedscoreError: the modality differs, or the values contradict it.
    """
    needed = modality if modality in ("CT", "MR") else "CT or MR"
    if volume.modality not in (modality, "unknown") or modality not in ("CT", "MR"):
        raise MedscoreError(
            f"the modality is {volume.modality}, {needed} is required",
            where=where,
            hint=f"use {'an' if needed == 'MR' else 'a'} {needed} scan",
        )
    own = float(volume.values.min())
    if modality == "MR" and own < 0:
        raise MedscoreError(
            f"the lowest value is {own:g}, but magnitudes are not negative",
            where=where,
            hint="use the magnitude image of an MR scan",
        )
    lowest = own if lowest is None else lowest
    if modality == "CT" and lowest > AIR / 2:
        raise MedscoreError(
            f"the lowest value is {lowest:g}, but a CT image in HU shows air near -1000",
            where=where,
            hint="use a CT scan in Hounsfield units",
        )
    return replace(volume, modality=modality)


def align(
    volume: Volume, affine: NDArray[np.float64], count: int, where: str | Path | None = None
) -> Volume:
    """Select the slices of a volume that lie on the grid of a measurement.

    Args:
        volume: slices that contain those of the measurement.
        affine: (4, 4) affine of the measurement's image.
        count: number of slices of the measurement.
        where: file to name in the error.

    Raises:
        MedscoreError: the grids differ by more than a hundredth of a pixel.
    """
    offset = np.linalg.solve(volume.affine, affine)[:, 3]
    start = round(float(offset[2]))
    same = (
        np.allclose(volume.affine[:3, :3], affine[:3, :3], rtol=1e-3, atol=1e-3)
        and np.abs(offset[:3] - (0, 0, start)).max() < 0.01
        and 0 <= start <= len(volume.values) - count
    )
    if not same:
        raise MedscoreError(
            "the reference does not lie on the grid of the measurement",
            where=where,
            hint="use the image from which the measurement was simulated",
        )
    return volume.select(start, start + count)


def slice_range(
    slices: str | tuple[int, int], count: int, where: str | Path | None = None
) -> tuple[int, int]:
    """Parse and check a range of slices.

    Args:
        slices: "START:STOP" or (start, stop); the stop is excluded.
        count: number of slices there are.
        where: file to name in the error.

    Raises:
        MedscoreError: the range is malformed, empty or exceeds the slices.
    """
    try:
        parts = slices.split(":") if isinstance(slices, str) else slices
        start, stop = (int(part) for part in parts)
    except (TypeError, ValueError):
        start, stop = 0, -1
    if not 0 <= start < stop <= count:
        raise MedscoreError(
            f"`slices` is {slices!r}, the volume has {count} slices",
            where=where,
            hint=f"use START:STOP within 0:{count}",
        )
    return start, stop

"""A stack of image slices with its geometry: what every reader returns and every writer takes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medscore.errors import MedscoreError

AIR = -1000.0
"""Attenuation of air in HU: nothing attenuates less, so CT values below it are padding."""


@dataclass(frozen=True)
class Source:
    """Where a volume came from, without anything that identifies a patient.

    Attributes:
        kind: "dicom", "nifti" or "array". sha256: of the file bytes.
        uids: DICOM identifiers by keyword (study, series, frame of reference), if any.
        instances: SOPInstanceUID of each slice, if any.
        notes: what the reader noticed and did about it.
    """

    kind: str
    sha256: str
    uids: dict[str, str] = field(default_factory=dict)
    instances: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Volume:
    """Slices (n, rows, columns) float32; rows run down, columns to the right, as displayed.

    Attributes:
        values: HU for CT, the scanner's units for MR.
        affine: 4x4, voxel (column, row, slice) to patient coordinates in mm, RAS+.
        modality: "CT", "MR", or "unknown" (NIfTI does not say).
    """

    values: NDArray[np.float32]
    affine: NDArray[np.float64]
    modality: str
    source: Source

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance in mm between columns, rows and slices."""
        column, row, slice_ = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(column), float(row), float(slice_)

    def select(self, start: int, stop: int) -> Volume:
        """Slices ``start`` to ``stop`` (exclusive), the geometry moved along."""
        affine = self.affine.copy()
        affine[:3, 3] += start * affine[:3, 2]
        source = replace(self.source, instances=self.source.instances[start:stop])
        return replace(self, values=self.values[start:stop], affine=affine, source=source)


def check_values(values: NDArray[np.floating], where: Path) -> None:
    """Refuse data no reconstruction can come from.

    Raises:
        MedscoreError: no pixels, NaN or infinity, or a constant image.
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
    """Axial slices around the origin, of a scan whose place in the scanner is not kept.

    Args:
        spacing: between columns, rows and slices in mm.
    """
    column, row, thickness = spacing
    affine = np.diag([-column, -row, thickness, 1.0])
    affine[:2, 3] = (width - 1) / 2 * column, (height - 1) / 2 * row
    return affine


def guess(volume: Volume) -> str:
    """The modality; of a file that does not say, by its values: HU have air far below zero."""
    if volume.modality != "unknown":
        return volume.modality
    return "CT" if float(volume.values.min()) < AIR / 2 else "MR"


def require(volume: Volume, modality: str, where: Path) -> Volume:
    """Refuse what is not a volume of that modality, CT in HU or MR magnitudes, with square slices
    and pixels; its modality is stated then.

    Raises:
        MedscoreError: another modality, values that it cannot have, or a shape or spacing that is
            not square.
    """
    if volume.modality not in (modality, "unknown") or modality not in ("CT", "MR"):
        raise MedscoreError(
            f"modality is {volume.modality}, this task needs {modality}", where=where,
            hint=f"give a scan by {'CT or MR' if modality not in ('CT', 'MR') else modality}",
        )  # fmt: skip
    lowest = float(volume.values.min())
    if modality == "MR" and lowest < 0:
        raise MedscoreError(
            f"the lowest value is {lowest:g}, but magnitudes are not negative",
            where=where,
            hint="give an MR scan's magnitude image",
        )
    if modality == "CT" and lowest > AIR / 2:
        raise MedscoreError(
            f"the lowest value is {lowest:g}, but a CT image in HU shows air near -1000",
            where=where,
            hint="give a CT scan in Hounsfield units",
        )
    rows, columns = volume.values.shape[1:]
    if rows != columns:
        raise MedscoreError(
            f"slices are {rows}x{columns}", where=where, hint="pad or crop them to a square"
        )
    x, y, _ = volume.spacing
    if abs(x - y) > 1e-3 * x:
        raise MedscoreError(
            f"pixels are {x:g} x {y:g} mm", where=where, hint="resample to square pixels"
        )
    return replace(volume, modality=modality)


def reduce(volume: Volume, size: int, where: Path) -> Volume:
    """Square slices reduced to ``size`` x ``size`` by area mean, the pixel spacing grown to match.

    Raises:
        MedscoreError: ``size`` is larger than the slices.
    """
    n = volume.values.shape[1]
    if size > n:
        raise MedscoreError(
            f"slices are {n}x{n}, smaller than --size {size}", where=where, hint="lower --size"
        )
    if size == n:
        return volume
    weights = area_weights(n, size)
    values = weights @ volume.values.astype(np.float64) @ weights.T
    factor = n / size
    affine = volume.affine.copy()
    affine[:3, :2] *= factor
    # the first new pixel's centre lies (factor - 1) / 2 old pixels into the image
    affine[:3, 3] += (factor - 1) / 2 * (volume.affine[:3, 0] + volume.affine[:3, 1])
    return replace(volume, values=values.astype(np.float32), affine=affine)


def area_weights(n: int, size: int) -> NDArray[np.float64]:
    """(size, n) matrix whose rows average the ``n`` old pixels each new pixel covers."""
    edges = np.arange(size + 1) * (n / size)
    old = np.arange(n)
    overlap = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    weights: NDArray[np.float64] = np.clip(overlap, 0, None) * (size / n)
    return weights


def align(volume: Volume, affine: NDArray[np.float64], count: int, where: Path) -> Volume:
    """The ``count`` slices of ``volume`` that lie on the grid of ``affine``.

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
            hint="give the image the measurement was simulated from",
        )
    return volume.select(start, start + count)


def slice_range(text: str, count: int) -> tuple[int, int]:
    """``START:STOP`` of ``count`` slices.

    Raises:
        MedscoreError: something else, or slices that are not there.
    """
    try:
        start, stop = (int(part) for part in text.split(":"))
    except ValueError:
        start, stop = 0, -1
    if not 0 <= start < stop <= count:
        raise MedscoreError(
            f"--slices {text!r} of a volume with {count} slices",
            hint=f"use START:STOP in 0:{count}",
        )
    return start, stop

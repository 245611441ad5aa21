"""From the lines of one image to k-space: prewhitened, placed, with partitions as slices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.raw.acquisitions import Lines
from medscore.datasets.raw.encoding import Encoding, geometry
from medscore.datasets.raw.kspace import RawKspace, check_kspace, single_precision
from medscore.datasets.raw.partitions import in_slices
from medscore.datasets.raw.placement import Placed, place
from medscore.datasets.raw.prewhitening import NoiseScan, whitening
from medscore.datasets.volume import Source
from medscore.errors import MedscoreError
from medscore.io.budget import check_memory
from medscore.io.hdf5 import INFLATES
from medscore.io.opening import file_sha256


def assembled(lines: Lines, encoding: Encoding, where: Path, *, noise: NoiseScan) -> RawKspace:
    """Put the lines of one image together.

    Args:
        lines: the lines.
        encoding: their encoding space.
        where: file of the scan.
        noise: its noise scan, which may be empty.

    Raises:
        MedscoreError: the scan is not Cartesian, a line lies outside the encoded matrix, partitions
            are not sampled alike, or the values are invalid.
    """
    nx, ny, nz = encoding.matrix[1], encoding.matrix[0], max(1, encoding.matrix[2])
    _check_size(lines, (ny, nx, nz), where)
    white, why = whitening(noise, len(lines.image[0].data))
    notes = [*lines.notes]
    if white is not None:
        notes.append(f"the coils are prewhitened by {len(noise.lines)} noise line(s)")
    elif noise.lines:
        notes.append(f"{len(noise.lines)} noise line(s) are left out" + (f": {why}" if why else ""))
    placed = place(lines, encoding, where)
    kspace = placed.kspace
    if white is not None:
        kspace = _mixed(white.matrix, kspace)
    kspace = single_precision(kspace, where)
    image = geometry(encoding, (ny, nx))
    kspace, sampled, deep = _volume(kspace, placed.sampled, encoding, where)
    check_kspace(kspace, where)
    notes += [*placed.notes, *image.notes, *deep]
    spacing = (*image.spacing[:2], image.spacing[2] / nz)
    source = Source("kspace", file_sha256(where), notes=tuple(notes))
    std = None if white is None else white.std * _averaging(placed)
    return RawKspace(kspace, spacing, image.oversampling, source, sampled, noise_std=std)


def _mixed(matrix: NDArray[Any], kspace: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """The matrix applied to the coils of each slice."""
    made = np.empty_like(kspace)
    for one, out in zip(kspace, made, strict=True):
        out[...] = np.tensordot(matrix, one, axes=(1, 0))
    return made


def _averaging(placed: Placed) -> float:
    """Factor on the noise by averaging: root mean square over the samples."""
    return float(np.sqrt((1 / placed.count[placed.sampled]).mean()))


def _volume(
    kspace: NDArray[np.complex64], sampled: NDArray[np.bool_], encoding: Encoding, where: Path
) -> tuple[NDArray[np.complex64], NDArray[np.bool_], list[str]]:
    """Partitions as slices, without the slices that are oversampled."""
    encoded, kept = max(1, encoding.matrix[2]), encoding.recon_matrix[2]
    if encoded == 1:
        return kspace, sampled, []
    kspace, sampled = in_slices(kspace, sampled, encoded, where)
    notes = [f"{encoded} partitions became slices"]
    share = encoding.recon_field[2] / encoding.field[2]
    if 0 < kept < encoded and abs(share * encoded / kept - 1) < 0.01:
        start = encoded // 2 - kept // 2
        inside = [n for n in range(len(kspace)) if start <= n % encoded < start + kept]
        kspace, sampled = kspace[inside], sampled[inside]
        notes.append(f"{encoded - kept} slices of oversampling are left out")
    return kspace, sampled, notes


def _check_size(lines: Lines, shape: tuple[int, int, int], where: Path) -> None:
    ny, nx, nz = shape
    if not (8 <= ny <= 2**14 and 8 <= nx <= 2**14 and nz <= 2**12):
        raise MedscoreError(
            f"the encoded matrix is {ny} x {nx}" + (f" x {nz}" if nz > 1 else ""), where=where,
            hint="export it again",
        )  # fmt: skip
    slices = 1 + max(line.idx.slice for line in lines.image)
    coils = len(lines.image[0].data)
    size = slices * coils * ny * nx * nz * 8
    if size > INFLATES * where.stat().st_size:
        raise MedscoreError(
            f"declares {slices * nz} slices of {coils} coils, {ny} x {nx} samples, more than the "
            "file can hold",
            where=where,
            hint="export it again",
        )
    check_memory(size, where, "k-space")

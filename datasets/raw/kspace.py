"""Raw k-space as files hold it, and NumPy files of it.

Readout lines run along ky, the first axis of the grid, so that a phase encoding is a column.
Samples that were not measured are zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.volume import Source
from medscore.errors import MedscoreError
from medscore.io.numpy_files import read_npy
from medscore.io.opening import file_sha256


@dataclass(frozen=True)
class RawKspace:
    """k-space as the scanner wrote it.

    Attributes:
        kspace: (slices, coils, ky, kx) complex64, centred, zero where it was not sampled.
        spacing: distance between columns, rows and slices in mm of the image of all of k-space;
            ``None`` where the file does not record it.
        oversampling: field of view along the readout (the rows of the image) over the intended one.
        source: hash and notes, without identity.
    """

    kspace: NDArray[np.complex64]
    spacing: tuple[float, float, float] | None
    oversampling: float
    source: Source

    @property
    def sampled(self) -> NDArray[np.bool_]:
        """Mask of the measured samples, (slices, ky, kx)."""
        found: NDArray[np.bool_] = (self.kspace != 0).any(axis=1)
        return found


def read_numpy(path: str | Path, *, spacing: tuple[float, float] | None = None) -> RawKspace:
    """Read a ``.npy`` file of k-space.

    Args:
        path: file of complex (ky, kx), (coil, ky, kx) or (slice, coil, ky, kx).
        spacing: distance between columns and between rows in mm, which the file does not record;
            slices are assumed as far apart as columns.

    Raises:
        MedscoreError: it is not a NumPy file, holds objects or real numbers, has another shape, or
            its values are invalid.
    """
    path = Path(path)
    stored = read_npy(path, hint="save it with numpy.save")
    if stored.dtype.kind != "c":
        raise MedscoreError(
            f"holds {stored.dtype}, expected complex k-space",
            where=path,
            hint="use a complex .npy array",
        )
    if not 2 <= stored.ndim <= 4:
        raise MedscoreError(
            f"has shape {stored.shape}",
            where=path,
            hint="use (ky, kx), (coil, ky, kx) or (slice, coil, ky, kx)",
        )
    kspace = stored.astype(np.complex64, copy=False).reshape(
        (1,) * (4 - stored.ndim) + stored.shape
    )
    check_kspace(kspace, path)
    source = Source("kspace", file_sha256(path))
    return RawKspace(kspace, None if spacing is None else (*spacing, spacing[0]), 1.0, source)


def check_kspace(kspace: NDArray[Any], where: Path) -> None:
    """Reject k-space from which no image can be reconstructed.

    Args:
        kspace: (slices, coils, ky, kx).
        where: file to name in the error.

    Raises:
        MedscoreError: there are too few samples, NaN or infinite values, or an empty slice.
    """
    if kspace.size == 0 or min(kspace.shape[-2:]) < 8:
        raise MedscoreError(
            f"k-space has shape {kspace.shape}", where=where, hint="use 8 x 8 samples or more"
        )
    if not np.isfinite(kspace).all():
        raise MedscoreError("k-space holds NaN or infinity", where=where, hint="export it again")
    empty = [i for i, one in enumerate(kspace) if not one.any()]
    if empty:
        raise MedscoreError(
            f"k-space is zero everywhere in slice {empty[0]}", where=where, hint="export it again"
        )

"""Raw k-space as files hold it, and NumPy files of it.

Readout lines run along ky, the first axis of the grid, so that a phase encoding is a column; where
samples were not taken there are zeros.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.volume import Source
from medscore.errors import MedscoreError, reading


@dataclass(frozen=True)
class RawKspace:
    """What a scanner wrote.

    Attributes:
        kspace: (slices, coils, ky, kx) complex64, centred, zero where nothing was taken.
        spacing: of the image that all of it makes, between columns, rows and slices in mm; None
            where the file does not say.
        oversampling: field of view along the readout (the rows of the image) over that meant to be
            kept.
        source: hash and notes, no identity.
    """

    kspace: NDArray[np.complex64]
    spacing: tuple[float, float, float] | None
    oversampling: float
    source: Source

    @property
    def sampled(self) -> NDArray[np.bool_]:
        """Which samples were taken: (slices, ky, kx)."""
        found: NDArray[np.bool_] = (self.kspace != 0).any(axis=1)
        return found


def read_numpy(path: Path, *, spacing: tuple[float, float] | None = None) -> RawKspace:
    """A ``.npy`` file of k-space (ky, kx), (coil, ky, kx) or (slice, coil, ky, kx).

    Args:
        spacing: between columns and between rows in mm, which the file does not say; slices are
            taken to be as far apart as columns.

    Raises:
        MedscoreError: no NumPy file, pickled objects, real numbers, another shape, NaN, or nothing.
    """
    content = path.read_bytes()
    with reading("NumPy", path, hint="save it with numpy.save"):
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(mapped, np.ndarray) or mapped.dtype.kind != "c":
        kind = mapped.dtype if isinstance(mapped, np.ndarray) else "an archive"
        raise MedscoreError(
            f"holds {kind}, expected complex k-space", where=path, hint="give a complex .npy array"
        )
    if not 2 <= mapped.ndim <= 4:
        raise MedscoreError(
            f"has shape {mapped.shape}",
            where=path,
            hint="use (ky, kx), (coil, ky, kx) or (slice, coil, ky, kx)",
        )
    kspace = np.array(mapped, dtype=np.complex64).reshape((1,) * (4 - mapped.ndim) + mapped.shape)
    check_kspace(kspace, path)
    source = Source("kspace", hashlib.sha256(content).hexdigest())
    return RawKspace(kspace, None if spacing is None else (*spacing, spacing[0]), 1.0, source)


def check_kspace(kspace: NDArray[Any], where: Path) -> None:
    """Refuse what no image comes from.

    Raises:
        MedscoreError: no samples, NaN or infinity, or zero everywhere.
    """
    if kspace.size == 0 or min(kspace.shape[-2:]) < 8:
        raise MedscoreError(
            f"k-space has shape {kspace.shape}", where=where, hint="give 8 x 8 samples or more"
        )
    if not np.isfinite(kspace).all():
        raise MedscoreError("k-space holds NaN or infinity", where=where, hint="export it again")
    empty = [i for i, one in enumerate(kspace) if not one.any()]
    if empty:
        raise MedscoreError(
            f"k-space is zero everywhere in slice {empty[0]}", where=where, hint="export it again"
        )

"""NumPy archives of slices of many patients, as collections are distributed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medscore.io.numpy_files import open_npz


def is_archive(path: Path) -> bool:
    """True for an archive of slices, which states their patients; others are single images.

    Args:
        path: any file.

    Raises:
        MedscoreError: it is called .npz and is damaged.
    """
    if path.suffix != ".npz":
        return False
    with open_npz(path, "slices") as archive:
        return "patient" in archive or not {"affine", "spacing"} & set(archive)


def read_archive(
    path: str | Path,
) -> tuple[NDArray[np.float32], NDArray[np.float64], list[str]]:
    """Read an archive of slices.

    Args:
        path: ``.npz`` file with ``hu`` or ``image``, ``patient`` and perhaps ``pixel_spacing_mm``.

    Returns:
        Images (n, H, W), pixel spacings in mm (n,), NaN where they are not recorded, and patients.

    Raises:
        MedscoreError: the file is not such an archive.
    """
    path = Path(path)
    hint = "use an archive with `hu` or `image`, and `patient`"
    with open_npz(path, "slices", hint) as archive:
        names = [str(name) for name in archive["patient"]]
        values = np.asarray(archive["hu" if "hu" in archive else "image"], dtype=np.float32)
        spacing = np.full(len(values), np.nan)
        if "pixel_spacing_mm" in archive:
            spacing = np.asarray(archive["pixel_spacing_mm"], dtype=np.float64)
            spacing = _one_of_each(spacing) if spacing.ndim == 2 else spacing
        if values.ndim != 3 or spacing.shape != (len(values),) or len(names) != len(values):
            raise ValueError("images, spacings and patients differ in number")
        if not np.isfinite(values).all():
            raise ValueError("NaN or infinity")
    return values, spacing, names


def _one_of_each(spacing: NDArray[np.float64]) -> NDArray[np.float64]:
    """One spacing for each slice, from those between rows and between columns (n, 2)."""
    if spacing.shape[1] != 2 or not (np.abs(spacing[:, 0] / spacing[:, 1] - 1) < 0.05).all():
        raise ValueError("pixels are not square")
    return spacing[:, 1]

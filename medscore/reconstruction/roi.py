"""Masks of regions of interest: label images on the grid of a reconstruction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.load import read_volume
from medscore.datasets.volume import Volume, align
from medscore.errors import MedscoreError
from medscore.measurements.measurement import Measurement

Mask = Volume | NDArray[Any] | str | Path
"""A label image, or where it lies."""

MOST = 1000
"""Largest number of labels, above which an image is no label image."""

HINT = "use a label image: 0 outside, and a whole number from 1 for each region"


def read_labels(mask: Mask, m: Measurement) -> NDArray[np.int64]:
    """The labels (slices, H, W) of the pixels of a reconstruction; 0 is no region.

    Args:
        mask: a volume, an array (slices, H, W) or the path of an image, whose values are 0 outside
            and a whole number from 1 for each region; truth values are one region.
        m: the measurement that is reconstructed.

    Raises:
        MedscoreError: it lies on another grid, has other values, or marks no pixel.
    """
    where: str | Path = "roi"
    if isinstance(mask, str | Path):
        where = Path(mask)
        mask = read_volume(where)
    if isinstance(mask, Volume):
        return _labels(_placed(mask, m, where), m, where)
    return _labels(np.asarray(mask), m, where)


def _placed(mask: Volume, m: Measurement, where: str | Path) -> NDArray[Any]:
    """The values of a mask on the slices of the measurement."""
    try:
        return align(mask, m.affine, m.slices, where).values
    except MedscoreError as error:
        raise MedscoreError(
            "the mask does not lie on the grid of the reconstruction", where=where,
            hint="resample it to recon.nii.gz with the nearest neighbour",
        ) from error  # fmt: skip


def _labels(values: NDArray[Any], m: Measurement, where: str | Path) -> NDArray[np.int64]:
    expected = (m.slices, *m.size)
    if values.shape != expected:
        raise MedscoreError(
            f"the mask has shape {values.shape}, the reconstruction {expected}", where=where,
            hint="use a mask on the grid of the reconstruction",
        )  # fmt: skip
    if values.dtype.kind not in "biuf":
        raise MedscoreError(f"the mask is of type {values.dtype}", where=where, hint=HINT)
    if not np.isfinite(values).all():
        raise MedscoreError("the mask holds NaN or infinity", where=where, hint=HINT)
    labels = np.unique(values)
    odd = labels[(labels < 0) | (labels != np.round(labels)) | (np.abs(labels) > 2**31)]
    if odd.size:
        raise MedscoreError(f"the mask holds the value {odd[0]:g}", where=where, hint=HINT)
    if len(labels) > MOST:
        raise MedscoreError(
            f"the mask holds {len(labels)} different values, more than {MOST}",
            where=where, hint=HINT,
        )  # fmt: skip
    if not labels.any():
        raise MedscoreError("the mask marks no pixel of the reconstruction", where=where, hint=HINT)
    found: NDArray[np.int64] = values.astype(np.int64)
    return found


def one_region(mask: Mask, m: Measurement) -> NDArray[np.int64]:
    """The pixels (slices, H, W) of a mask as one region of label 1.

    Args:
        mask: as for :func:`read_labels`.
        m: the measurement that is reconstructed.

    Raises:
        MedscoreError: as :func:`read_labels`.
    """
    inside: NDArray[np.int64] = (read_labels(mask, m) != 0).astype(np.int64)
    return inside

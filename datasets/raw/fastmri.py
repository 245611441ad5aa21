"""fastMRI files (Zbontar et al. 2018): HDF5 with k-space and the scanner's XML header.

``kspace`` is (slices, coils, readout, phase), or (slices, readout, phase) for emulated single
coils. The readout is oversampled twice; the header's reconSpace gives the part that is kept.
Columns that were not acquired (masks of the challenge, zero padding) are zero, and so are samples
at the ends of the readout that were not (partial echo).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.raw.encoding import geometry, read_encodings
from medscore.datasets.raw.kspace import (
    RawKspace,
    between,
    check_kspace,
    measured_samples,
    single_precision,
)
from medscore.datasets.raw.kspace_axes import check_axes
from medscore.datasets.volume import Source
from medscore.errors import MedscoreError
from medscore.io.hdf5 import array, has_member, member, open_hdf5
from medscore.io.opening import file_sha256

HINT = "use a fastMRI file, e.g. file1000000.h5 of knee_singlecoil_val"


def is_fastmri(file: Any) -> bool:
    """True if an open HDF5 file looks like a fastMRI file.

    Args:
        file: open HDF5 file.
    """
    return has_member(file, "kspace")


def read_fastmri(path: str | Path) -> RawKspace:
    """Read the k-space of all slices.

    Args:
        path: fastMRI file.

    Raises:
        MedscoreError: it is not a fastMRI file, its header has no geometry, or its values are
            invalid.
    """
    path = Path(path)
    with open_hdf5(path, "fastMRI", HINT) as file:
        kspace = array(member(file, "kspace"), "c", single=False)
        stated = _mask(file)
        header = _header(file)
    if kspace.ndim == 3:
        kspace = kspace[:, None]
    if kspace.ndim != 4:
        raise MedscoreError(f"kspace has shape {kspace.shape}", where=path, hint=HINT)
    kspace = single_precision(kspace, path)
    check_kspace(kspace, path)
    check_axes(kspace, path, "store kspace as (slices, coils, readout, phase)")
    check_mask(kspace, stated, path)
    digest = file_sha256(path)
    mask = measured_samples(kspace)
    if header is None:
        notes = ("no header: pixel spacing and readout oversampling are unknown",)
        return RawKspace(kspace, None, 1.0, Source("kspace", digest, notes=notes), mask)
    encoding = read_encodings(header, path)[0]
    if encoding.trajectory not in ("cartesian", ""):
        raise MedscoreError(
            f"the trajectory is {encoding.trajectory}", where=path, hint="use a Cartesian scan"
        )
    image = geometry(encoding, (kspace.shape[-2], kspace.shape[-1]))
    source = Source("kspace", digest, notes=image.notes)
    return RawKspace(kspace, image.spacing, image.oversampling, source, mask)


def read_targets(path: str | Path) -> tuple[NDArray[np.float32], float]:
    """Read the reconstructions in a file: root sum of squares over coils, or of an emulated coil.

    Args:
        path: fastMRI file.

    Returns:
        Images (slices, H, W), and their pixel spacing in mm, NaN without a header.

    Raises:
        MedscoreError: it is not a fastMRI file, or one of a test set, without reconstructions.
    """
    path = Path(path)
    with open_hdf5(path, "fastMRI", HINT) as file:
        names = [n for n in ("reconstruction_rss", "reconstruction_esc") if has_member(file, n)]
        if not names:
            raise MedscoreError(
                "holds no reconstruction_rss or reconstruction_esc",
                where=path,
                hint="use files of the training or validation set",
            )
        images = array(member(file, names[0]), "f")
        header = _header(file)
    if images.ndim != 3:
        raise MedscoreError(f"{names[0]} has shape {images.shape}", where=path, hint=HINT)
    return images, float("nan") if header is None else _pixel(header, path)


def check_mask(kspace: NDArray[np.complex64], mask: NDArray[np.bool_] | None, where: Path) -> None:
    """Reject a mask of the file that its k-space contradicts.

    The mask may keep columns at both ends that are zero: scanners interpolate with them.

    Args:
        kspace: (slices, coils, readout, phase).
        mask: the measured columns, (phase,); None where the file holds no mask.
        where: file to name in the error.

    Raises:
        MedscoreError: another number of columns, a column with values that is not measured, or one
            that is measured between columns with values and is zero.
    """
    if mask is None:
        return
    hint = "store the mask of this k-space, or none"
    columns = kspace.shape[-1]
    if mask.shape != (columns,):
        raise MedscoreError(
            f"mask has shape {mask.shape}, k-space {columns} columns", where=where, hint=hint
        )
    values = (kspace != 0).any(axis=(0, 1, 2))
    for wrong, what in (
        (values & ~mask, "as not measured, and k-space has values there"),
        (between(values, axis=0) & mask & ~values, "as measured, and k-space is zero there"),
    ):
        if wrong.any():
            raise MedscoreError(
                f"mask marks column {int(wrong.argmax())} {what}", where=where, hint=hint
            )


def _mask(file: Any) -> NDArray[np.bool_] | None:
    """The columns that a file states as measured, if it does."""
    if not has_member(file, "mask"):
        return None
    stored = member(file, "mask")
    if stored.dtype.kind not in "biuf" or math.prod(stored.shape) != max(stored.shape, default=0):
        raise ValueError(f"mask is {stored.dtype} of shape {stored.shape}, not a line of 0 and 1")
    found: NDArray[np.bool_] = np.asarray(stored[()]).ravel() != 0
    return found


def _header(file: Any) -> bytes | str | None:
    """The scanner's XML header, if there is one."""
    if not has_member(file, "ismrmrd_header"):
        return None
    stored = member(file, "ismrmrd_header")
    if stored.shape != () or stored.dtype.kind not in "SO":
        raise ValueError(f"ismrmrd_header is {stored.dtype} of shape {stored.shape}, not a text")
    text: bytes | str = stored[()]
    return text


def _pixel(header: bytes | str, where: Path) -> float:
    """Pixel spacing of the reconstructed image in mm."""
    encoding = read_encodings(header, where)[0]
    if encoding.recon_matrix[0] < 1:
        raise MedscoreError(
            "the XML header holds no geometry (reconSpace has no matrixSize)",
            where=where,
            hint="export it again",
        )
    return encoding.recon_field[0] / encoding.recon_matrix[0]

"""fastMRI files (Zbontar et al. 2018): HDF5 with k-space and the scanner's XML header.

``kspace`` is (slices, coils, readout, phase), or (slices, readout, phase) for emulated single
coils. The readout is oversampled twice; the header's reconSpace gives the part that is kept.
Columns that were not acquired (masks of the challenge, zero padding) are zero.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.raw.kspace import RawKspace, check_kspace
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
        kspace = array(member(file, "kspace"), "c")
        header = _header(file)
    if kspace.ndim == 3:
        kspace = kspace[:, None]
    if kspace.ndim != 4:
        raise MedscoreError(f"kspace has shape {kspace.shape}", where=path, hint=HINT)
    check_kspace(kspace, path)
    spacing, oversampling = None, 1.0
    notes: tuple[str, ...] = ()
    if header is None:
        notes = ("no header: pixel spacing and readout oversampling are unknown",)
    else:
        spacing, oversampling = geometry(header, kspace.shape[-2:], path)
    digest = file_sha256(path)
    return RawKspace(kspace, spacing, oversampling, Source("kspace", digest, notes=notes))


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
    try:
        encoding = ElementTree.fromstring(header).find("{*}encoding")
        if encoding is None:
            raise ValueError("no encoding")
        field, *_ = _field_of_view(encoding, "reconSpace")
        count = int(encoding.findtext("{*}reconSpace/{*}matrixSize/{*}x") or 0)
        if count < 1:
            raise ValueError("reconSpace has no matrixSize")
    except (ElementTree.ParseError, ValueError) as error:
        raise MedscoreError(
            f"the XML header holds no geometry ({error})", where=where, hint="export it again"
        ) from error
    return field / count


def geometry(
    header: bytes | str, shape: tuple[int, ...], where: Path
) -> tuple[tuple[float, float, float], float]:
    """Read the geometry from an ISMRMRD XML header.

    Args:
        header: XML text.
        shape: samples of k-space along readout and phase encoding.
        where: file to name in the error.

    Returns:
        Distance between columns, rows and slices in mm of the image of all of k-space, and the
        oversampling of the readout.

    Raises:
        MedscoreError: it is not XML, or has no positive fields of view.
    """
    try:
        root = ElementTree.fromstring(header)
        encoding = root.find("{*}encoding")
        if encoding is None:
            raise ValueError("no encoding")
        fields = [_field_of_view(encoding, space) for space in ("encodedSpace", "reconSpace")]
    except (ElementTree.ParseError, ValueError, TypeError) as error:
        raise MedscoreError(
            f"the XML header holds no geometry ({error})", where=where, hint="export it again"
        ) from error
    (readout, phase, thickness), (kept, *_) = fields
    oversampling = max(1.0, readout / kept)
    return (phase / shape[1], readout / shape[0], thickness), float(oversampling)


def _field_of_view(encoding: ElementTree.Element, space: str) -> tuple[float, float, float]:
    found = [encoding.findtext(f"{{*}}{space}/{{*}}fieldOfView_mm/{{*}}{axis}") for axis in "xyz"]
    if None in found:
        raise ValueError(f"{space} has no fieldOfView_mm")
    x, y, z = (float(text) for text in found if text is not None)
    if not all(0 < mm < 1e4 for mm in (x, y, z)):
        raise ValueError(f"{space} has a field of view of {x:g} x {y:g} x {z:g} mm")
    return x, y, z

"""Reading and writing NIfTI."""

from __future__ import annotations

import gzip
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from medscore.datasets.formats.orientation import axes_of, from_display, to_display
from medscore.datasets.nifti_files import NiftiFiles
from medscore.datasets.nifti_units import in_mm, place_in_time
from medscore.datasets.volume import Source, Volume, check_values
from medscore.datasets.voxels import check_header, read_voxels
from medscore.errors import MedscoreError, reading
from medscore.io.files import atomic_path
from medscore.io.hdf5 import INFLATES


def read_nifti(path: str | Path, *, channel: int | None = None) -> Volume:
    """Read a NIfTI volume as axial slices in radiological display (patient right at image left).

    The voxel grid is only permuted and flipped, and the affine follows.

    Args:
        path: ``.nii`` or ``.nii.gz`` file, or either file of a pair ``.hdr`` and ``.img``.
        channel: index of the volume in a 4-D file, from 0: a contrast, an echo or a time.

    Raises:
        MedscoreError: the file is unreadable, truncated or not 3-D, or has no such channel.
    """
    path = Path(path)
    with reading("NIfTI", path):
        files = NiftiFiles.of(path)
        check_header(files.header)
        with _quiet():
            image = cast(SpatialImage, nib.load(files.header))
        if not hasattr(image, "affine"):
            raise MedscoreError(
                f"holds a {type(image).__name__}, not a volume", where=path, hint="export a volume"
            )
        chosen = _volume(path, image, channel)
        if image.get_data_dtype().kind not in "iuf":
            raise MedscoreError(
                f"holds {image.get_data_dtype()} values, one real number per voxel is required",
                where=path,
                hint="export a greyscale image",
            )
        _check_size(files.voxels, image)
        if math.prod(image.shape) == 0:
            raise ValueError(f"shape {image.shape} has no voxels")
        voxels = read_voxels(files.voxels, image, chosen)
        axes = axes_of(np.asarray(image.affine))
        values, affine = to_display(voxels, np.asarray(image.affine))
    check_values(values, path)
    affine, notes = in_mm(path, image, affine)
    notes += files.notes(image)
    if len(image.shape) == 4:
        notes.append(place_in_time(image, chosen))
    return Volume(
        values=values,
        affine=affine,
        modality="unknown",
        source=Source("nifti", files.sha256, notes=tuple(notes), axes=axes),
    )


def volume_count(path: Path) -> int:
    """Number of volumes of a NIfTI file that a channel chooses from; 0 for a file that is not 4-D.

    Args:
        path: the file.

    Raises:
        MedscoreError: its header cannot be read.
    """
    with reading("NIfTI", path), _quiet():
        shape = cast(SpatialImage, nib.load(NiftiFiles.of(path).header)).shape
    return int(shape[3]) if len(shape) == 4 else 0


def write_nifti(
    path: str | Path,
    values: NDArray[np.float32],
    affine: NDArray[np.float64],
    axes: str = "",
    description: str = "",
) -> None:
    """Write slices as NIfTI in millimetres, compressed unless the name ends with .nii, atomically.

    There is no time stamp in the file, so that equal content gives equal bytes.

    Args:
        path: ``.nii.gz`` or ``.nii`` file to write.
        values: (n, rows, columns), or (n, rows, columns, volumes) for several on the same grid.
        affine: (4, 4) map from voxel (column, row, slice) to RAS mm.
        axes: directions of the axes in the file, such as "RAS"; by default those of display.
        description: text of at most 79 ASCII characters for the header.

    Raises:
        MedscoreError: the folder cannot be written.
    """
    volumes = [values] if values.ndim == 3 else list(np.moveaxis(values, -1, 0))
    found = [from_display(volume, affine, axes) for volume in volumes]
    placed = found[0][1]
    data = found[0][0] if values.ndim == 3 else np.stack([each for each, _ in found], axis=-1)
    image = nib.Nifti1Image(data, placed)
    image.header["descrip"] = description.encode("ascii", "replace")[:79]
    image.header.set_xyzt_units("mm")
    image.set_qform(placed, code=1)
    image.set_sform(placed, code=1)
    with atomic_path(path) as partial:
        content = image.to_bytes()
        zipped = not str(path).lower().endswith(".nii")
        partial.write_bytes(gzip.compress(content, 6, mtime=0) if zipped else content)


def _check_size(path: Path, image: SpatialImage) -> None:
    """Reject a header that declares more voxels than the file can hold, before allocating them."""
    declared = math.prod(image.shape) * image.get_data_dtype().itemsize
    held = path.stat().st_size * (INFLATES if path.name.lower().endswith(".gz") else 1)
    if declared > held:
        raise ValueError(f"declares {declared:,} bytes of voxels, more than it can hold")


def _volume(path: Path, image: SpatialImage, channel: int | None) -> int:
    """Index of the only volume of the file, or of the chosen one of several."""
    if len(image.shape) in (2, 3) and channel is None:
        return 0
    count = image.shape[3] if len(image.shape) == 4 else 1
    if len(image.shape) not in (2, 3, 4) or (channel is None and count != 1):
        raise MedscoreError(
            f"has shape {tuple(image.shape)}, a 3-D volume is required",
            where=path,
            hint="choose one with `channel`" if len(image.shape) == 4 else "extract one volume",
        )
    chosen = channel or 0
    if len(image.shape) != 4:
        raise MedscoreError(
            f"`channel` is {chosen}, which applies to 4-D files; this one has shape "
            f"{tuple(image.shape)}", where=path, hint="leave it out",
        )  # fmt: skip
    if not 0 <= chosen < count:
        raise MedscoreError(
            f"`channel` is {chosen}, the file has {count} volumes",
            where=path,
            hint=f"use 0 to {count - 1}" if count else "export it again",
        )
    return chosen


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence nibabel, which logs what it corrects in a header and raises what it cannot."""
    logger = nib.imageglobals.logger
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)

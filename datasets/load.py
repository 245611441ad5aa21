"""One door for images: a DICOM file, a DICOM folder or a NIfTI file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from medscore.datasets.dicom.files import is_dicom
from medscore.datasets.dicom.read import read_dicom
from medscore.datasets.nifti import read_nifti
from medscore.datasets.volume import AIR, Volume, check_values, guess, reduce, require, slice_range
from medscore.errors import MedscoreError


def is_image(path: Path) -> bool:
    """Whether an existing file is DICOM, or NIfTI by its name."""
    return path.is_file() and (path.name.endswith((".nii", ".nii.gz")) or is_dicom(path))


def load_image(
    path: Path, *, series: str | None = None, resample: bool = False, channel: int | None = None
) -> Volume:
    """Read an image by its content: folder or DICOM marker, else NIfTI by its name.

    Args:
        series, resample: of DICOM, see :func:`~medscore.datasets.dicom.read.read_dicom`.
        channel: of 4-D NIfTI, see :func:`~medscore.datasets.nifti.read_nifti`.

    Raises:
        MedscoreError: no such file, not an image, or what the reader found wrong.
    """
    if not path.exists():
        raise MedscoreError("no such file or folder", where=path, hint="check the path")
    try:
        if path.is_dir() or is_dicom(path):
            return read_dicom(path, series=series, resample=resample)
    except PermissionError as error:
        raise MedscoreError("cannot be opened", where=path, hint="check permissions") from error
    if path.name.endswith((".nii", ".nii.gz")):
        return read_nifti(path, channel=channel)
    raise MedscoreError(
        "is not an image this command reads",
        where=path,
        hint="give a DICOM file, a folder of DICOM files, or a .nii or .nii.gz file",
    )


def clean(volume: Volume, size: int | None, where: Path) -> Volume:
    """A volume of known modality with padding made air, reduced to ``size`` x ``size``.

    Raises:
        MedscoreError: values that are not finite or constant, or slices smaller than ``size``.
    """
    check_values(volume.values, where)
    if volume.modality == "CT":
        volume = replace(volume, values=volume.values.clip(min=AIR))
        check_values(volume.values, where)  # nothing but padding is constant now
    return volume if size is None else reduce(volume, size, where)


def prepare(
    image: Path,
    *,
    modality: str | None,
    size: int | None,
    slices: str | None = None,
    series: str | None = None,
    resample: bool = False,
    channel: int | None = None,
) -> Volume:
    """Load, check, select and reduce a CT or MR image.

    Args:
        modality: that it must have; by default its own, or what its values look like.

    Raises:
        MedscoreError: what :func:`~medscore.datasets.load.load_image` and
            :func:`~medscore.datasets.volume.require` refuse, or a bad slice range.
    """
    volume = load_image(image, series=series, resample=resample, channel=channel)
    volume = require(volume, modality or guess(volume), image)
    if slices is not None:
        volume = volume.select(*slice_range(slices, len(volume.values)))
    return clean(volume, size, image)

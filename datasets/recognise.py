"""Which reader a file is for: DICOM by content, the other formats by name."""

from __future__ import annotations

from pathlib import Path

from medscore.datasets.dicom.archive import is_zip
from medscore.datasets.dicom.dicomdir import is_dicomdir
from medscore.datasets.dicom.form import is_dicom
from medscore.datasets.formats.arrays import holds_image, is_array_file
from medscore.datasets.formats.itk import is_itk, itk_volume_count
from medscore.datasets.nifti import volume_count
from medscore.datasets.nifti_files import is_nifti
from medscore.io.opening import is_regular

FORMATS = (
    "a DICOM file, folder or .zip, NIfTI (.nii, .nii.gz, .hdr with .img), NRRD (.nrrd, .nhdr), "
    "MetaImage (.mha, .mhd), or an array (.npy, .npz, .mat)"
)
"""The formats that are read, for messages."""


def format_of(path: Path) -> str | None:
    """Format of a file or folder: "dicom", "nifti", "itk" or "array"; None for others.

    Args:
        path: an existing file or folder.

    Raises:
        MedscoreError: it is neither a regular file nor a folder.
    """
    if path.is_dir():
        return "dicom"
    if is_itk(path):
        return "itk"
    if is_array_file(path):
        return "array"
    if is_zip(path) or is_dicom(path):
        return "dicom"
    return "nifti" if is_nifti(path) else None


def is_image(path: str | Path) -> bool:
    """True if a file may hold an image, as opposed to raw data, a measurement or another file.

    Args:
        path: any file.
    """
    path = Path(path)
    if not is_regular(path):
        return False
    found = format_of(path)
    return holds_image(path) if found == "array" else found is not None


def count_of_channels(path: Path) -> int:
    """Number of volumes of a file that a channel chooses from; 0 for a file that is not 4-D.

    Args:
        path: an existing file or folder.

    Raises:
        MedscoreError: its header cannot be read.
    """
    found = format_of(path)
    return (
        volume_count(path) if found == "nifti" else itk_volume_count(path) if found == "itk" else 0
    )


def holds_series(path: Path) -> bool:
    """True for a folder, zip archive or index, which may hold several DICOM series.

    Args:
        path: an existing file or folder.
    """
    return path.is_dir() or is_zip(path) or is_dicomdir(path)

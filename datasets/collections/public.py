"""Public collections in the folder layout of their archives.

In a recipe ``data: ["lidc:LIDC-IDRI@0-0.9"]`` means the collection, its folder, and a share of its
patients: those whose names hash to [0, 0.9). So data are split by patient, never by slice, and the
split does not change when patients are added. The preprocessing of the dissertation (Song et al.
2022, B.6.3) is that of :mod:`medscore.datasets.collections.slices`: HU with air as background, 2-D
slices.

To add a collection, write a function here and add its line to ``COLLECTIONS``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from medscore.datasets.collections.patients import digest
from medscore.datasets.dicom.form import is_dicom
from medscore.errors import MedscoreError
from medscore.io.hdf5 import open_hdf5
from medscore.io.opening import is_regular

FEWEST = 10
"""A DICOM series of fewer files is a scout or a radiograph."""


@dataclass(frozen=True)
class Images:
    """The images of one scan.

    Attributes:
        patient: identifies the patient; equal for all scans of a patient.
        files: one NIfTI, NumPy or fastMRI file, one DICOM folder, or the files of a DICOM series.
        name: readable name of the scan, by its file or folder.
        public: names that a public collection gives the patient and the scan; outputs may state
            them, unlike all other names of files and folders.
        keys: what the scan shares with others of its patient besides ``patient``: its study.
        copies: whether a file with the same content is a copy under another name.
    """

    patient: str
    files: tuple[Path, ...]
    name: str
    public: tuple[str, str] | None = None
    keys: tuple[str, ...] = ()
    copies: bool = False


def lidc(root: Path) -> list[Images]:
    """LIDC-IDRI: LIDC-IDRI-0001/STUDY/SERIES/*.dcm; CT series, not the radiographs.

    Args:
        root: folder of the collection.
    """
    return [
        Images(patient.name, files, patient.name)
        for patient in sorted(root.glob("LIDC-IDRI-[0-9]*"))
        for series in sorted(patient.glob("*/*"))
        if len(files := _dicom(series)) >= FEWEST
    ]


def ldct(root: Path) -> list[Images]:
    """LDCT-and-Projection-data: C001/STUDY/1.000000-Full Dose Images-12345/*.dcm; only the
    full-dose images, as in B.6.3.

    Args:
        root: folder of the collection.
    """
    return [
        Images(patient.name, files, patient.name)
        for patient in sorted(root.glob("[CLN][0-9][0-9][0-9]"))
        for series in sorted(patient.glob("*/*Full*[Dd]ose*[Ii]mages*"))
        if len(files := _dicom(series)) >= FEWEST
    ]


def brats2021(root: Path) -> list[Images]:
    """BraTS 2021: BraTS2021_00000/BraTS2021_00000_t1.nii.gz, t1ce, t2, flair; no segmentations.

    Args:
        root: folder of the collection.
    """
    return [
        Images(patient.name, (path,), path.name)
        for patient in sorted(root.glob("BraTS2021_[0-9]*"))
        for contrast in ("flair", "t1", "t1ce", "t2")
        for path in sorted(patient.glob(f"*_{contrast}.nii*"))
    ]


def fastmri(root: Path) -> list[Images]:
    """fastMRI: any folder of file1000000.h5, such as singlecoil_train.

    Args:
        root: folder of the files.
    """
    return [Images(digest(stored_patient(p)), (p,), p.name) for p in sorted(root.glob("*.h5"))]


def stored_patient(path: Path) -> str:
    """Identifier of the patient of a fastMRI file; several files may be of one patient.

    Args:
        path: HDF5 file with an attribute ``patient_id``; without it, the file name is used.

    Raises:
        MedscoreError: the file cannot be read.
    """
    with open_hdf5(path, "fastMRI") as file:
        return str(file.attrs.get("patient_id", path.stem))


COLLECTIONS: dict[str, Callable[[Path], list[Images]]] = {
    "lidc": lidc,
    "ldct": ldct,
    "brats2021": brats2021,
    "fastmri": fastmri,
}

_PATTERN = re.compile(
    r"(?P<name>[a-z0-9]+):(?P<folder>[^@]*)(@(?P<low>[0-9.]+)-(?P<high>[0-9.]+))?"
)


_ARCHIVED = re.compile(r"LIDC-IDRI-\d+|[CLN]\d{3}|BraTS2021_\d+|file\d+")
"""Names of patients, or of files, in the archives of the collections."""


def is_collection(pattern: str) -> bool:
    """True if a pattern of a recipe names a collection.

    Args:
        pattern: as ``NAME:FOLDER``, or a pattern of file names.
    """
    return pattern.partition(":")[0] in COLLECTIONS


def collected(pattern: str, root: Path) -> list[Images]:
    """Find the scans that ``NAME:FOLDER`` or ``NAME:FOLDER@LOW-HIGH`` specifies.

    Args:
        pattern: collection, its folder, and the share of its patients; all by default.
        root: data folder.

    Raises:
        MedscoreError: the pattern is malformed, its share is not within [0, 1], or no patient is
            found.
    """
    match = _PATTERN.fullmatch(pattern)
    if match is None:
        raise MedscoreError(
            f"`data` {pattern!r} is malformed",
            where=root,
            hint="use NAME:FOLDER or NAME:FOLDER@LOW-HIGH",
        )
    low, high = (float(match[k] or d) for k, d in (("low", 0.0), ("high", 1.0)))
    if not 0 <= low < high <= 1:
        raise MedscoreError(
            f"`data` {pattern!r}: patients from {low:g} to {high:g}",
            where=root,
            hint="use shares from 0 to 1, such as @0-0.9",
        )
    folder = root / match["folder"]
    found = [
        replace(images, public=_public(images, folder))
        for images in COLLECTIONS[match["name"]](folder)
    ]
    kept = [images for images in found if low <= share(images.patient) < high]
    if not kept:
        raise MedscoreError(
            f"`data` {pattern!r}: {len(found)} scans of the collection, none in the share",
            where=folder,
            hint="check the folder: it holds the patients' folders or files",
        )
    return kept


def share(patient: str) -> float:
    """Position of a patient in [0, 1) by the hash of the name.

    Args:
        patient: name of the patient in the collection.
    """
    return int(hashlib.sha256(patient.encode()).hexdigest()[:8], 16) / 2**32


def _public(images: Images, folder: Path) -> tuple[str, str] | None:
    """Patient and scan by the archive's own names; None where they are others."""
    parts = images.files[0].relative_to(folder).parts
    stem = parts[0].partition(".")[0]
    return (stem, "/".join(parts)) if _ARCHIVED.fullmatch(stem) else None


def _dicom(folder: Path) -> tuple[Path, ...]:
    if not folder.is_dir():
        return ()
    return tuple(
        path
        for path in sorted(folder.iterdir())
        if is_regular(path) and (path.suffix == ".dcm" or is_dicom(path))
    )

"""Public collections as they unpack, for training: which files are a patient's images.

In a recipe ``data: ["lidc:LIDC-IDRI@0-0.9"]`` means the collection, its folder, and a share of its
patients: those whose names' hashes lie in [0, 0.9). So a split is one of patients, never of slices,
and stays when patients are added. The dissertation's preprocessing (Song et al. 2022, B.6.3) is
that of :mod:`medscore.datasets.collections.slices`: HU with air as background, 2-D slices.

A new collection is a function here and its line in ``COLLECTIONS``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py

from medscore.datasets.dicom.files import is_dicom
from medscore.errors import MedscoreError, reading

FEWEST = 10
"""A DICOM series of fewer files is a scout or a radiograph."""


@dataclass(frozen=True)
class Images:
    """One patient's images: one NIfTI, NumPy or fastMRI file, or the files of a DICOM series."""

    patient: str
    files: tuple[Path, ...]


def lidc(root: Path) -> list[Images]:
    """LIDC-IDRI: LIDC-IDRI-0001/STUDY/SERIES/*.dcm; CT series, not the radiographs."""
    return [
        Images(patient.name, files)
        for patient in sorted(root.glob("LIDC-IDRI-[0-9]*"))
        for series in sorted(patient.glob("*/*"))
        if len(files := _dicom(series)) >= FEWEST
    ]


def ldct(root: Path) -> list[Images]:
    """LDCT-and-Projection-data: C001/STUDY/1.000000-Full Dose Images-12345/*.dcm; the full-dose
    images alone, as in B.6.3.
    """
    return [
        Images(patient.name, files)
        for patient in sorted(root.glob("[CLN][0-9][0-9][0-9]"))
        for series in sorted(patient.glob("*/*Full*[Dd]ose*[Ii]mages*"))
        if len(files := _dicom(series)) >= FEWEST
    ]


def brats2021(root: Path) -> list[Images]:
    """BraTS 2021: BraTS2021_00000/BraTS2021_00000_t1.nii.gz, t1ce, t2, flair; no segmentations."""
    return [
        Images(patient.name, (path,))
        for patient in sorted(root.glob("BraTS2021_[0-9]*"))
        for contrast in ("flair", "t1", "t1ce", "t2")
        for path in sorted(patient.glob(f"*_{contrast}.nii*"))
    ]


def fastmri(root: Path) -> list[Images]:
    """fastMRI: any folder of file1000000.h5, singlecoil_train say; patients by the files' own
    patient identifier, hashed, since several files may be of one.
    """
    found = []
    for path in sorted(root.glob("*.h5")):
        with reading("fastMRI", path), h5py.File(path, "r") as file:
            name = str(file.attrs.get("patient_id", path.stem))
        found.append(Images(hashlib.sha256(name.encode()).hexdigest()[:16], (path,)))
    return found


COLLECTIONS: dict[str, Callable[[Path], list[Images]]] = {
    "lidc": lidc,
    "ldct": ldct,
    "brats2021": brats2021,
    "fastmri": fastmri,
}

_SPOKEN = re.compile(r"(?P<name>[a-z0-9]+):(?P<folder>[^@]*)(@(?P<low>[0-9.]+)-(?P<high>[0-9.]+))?")


def is_collection(pattern: str) -> bool:
    """Whether a recipe's pattern names a collection."""
    return pattern.partition(":")[0] in COLLECTIONS


def collected(pattern: str, root: Path) -> list[Images]:
    """What ``NAME:FOLDER`` or ``NAME:FOLDER@LOW-HIGH`` means below ``root``.

    Raises:
        MedscoreError: another form, a share out of [0, 1], or no patient there.
    """
    spoken = _SPOKEN.fullmatch(pattern)
    if spoken is None:
        raise MedscoreError(
            f"data {pattern!r}", where=root, hint="use NAME:FOLDER or NAME:FOLDER@LOW-HIGH"
        )
    low, high = (float(spoken[k] or d) for k, d in (("low", 0.0), ("high", 1.0)))
    if not 0 <= low < high <= 1:
        raise MedscoreError(
            f"data {pattern!r}: patients from {low:g} to {high:g}", where=root,
            hint="use shares from 0 to 1, as @0-0.9",
        )  # fmt: skip
    found = COLLECTIONS[spoken["name"]](root / spoken["folder"])
    kept = [images for images in found if low <= share(images.patient) < high]
    if not kept:
        raise MedscoreError(
            f"data {pattern!r}: {len(found)} image series of the collection, none in the share",
            where=root / spoken["folder"],
            hint="check the folder: it holds the patients' folders or files",
        )
    return kept


def share(patient: str) -> float:
    """Where in [0, 1) a patient lies, by the hash of the name."""
    return int(hashlib.sha256(patient.encode()).hexdigest()[:8], 16) / 2**32


def _dicom(folder: Path) -> tuple[Path, ...]:
    if not folder.is_dir():
        return ()
    return tuple(
        path
        for path in sorted(folder.iterdir())
        if path.is_file() and (path.suffix == ".dcm" or is_dicom(path))
    )

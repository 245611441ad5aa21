"""Which patient and series a DICOM file belongs to.

Patients are identified by the PatientID, wherever their files lie and however they are named. The
identifier itself is never kept: it is hashed, and the hash is not written to any file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from medscore.datasets.dicom.files import dicom_files
from medscore.datasets.dicom.form import is_dicom, quiet, read_dataset
from medscore.errors import reading
from medscore.io.opening import file_or_folder

KEYWORDS = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
"""Identifiers of a patient in order of preference; the first that is not empty is used."""


@dataclass(frozen=True)
class Origin:
    """Patient, series and matrix size of a DICOM file.

    Attributes:
        patient: pseudonym of the patient.
        series: SeriesInstanceUID, empty where it is missing.
        shape: rows and columns of its image.
    """

    patient: str
    series: str
    shape: tuple[int, int]


def pseudonym(identifier: str) -> str:
    """Hash of an identifier: equal for equal identifiers, 16 hexadecimal digits.

    Args:
        identifier: of a patient, in any form.
    """
    return hashlib.sha256(identifier.encode()).hexdigest()[:16]


def dicom_origin(path: Path) -> Origin | None:
    """Origin of a DICOM file, or of a folder by its first DICOM file; ``None`` without any.

    Args:
        path: file or folder.

    Raises:
        MedscoreError: the DICOM file is damaged.
    """
    file = next(dicom_files(path), None) if file_or_folder(path).is_dir() else path
    if file is None or not is_dicom(file):
        return None
    with reading("DICOM", file), quiet():
        header = read_dataset(
            file, stop_before_pixels=True, specific_tags=[*KEYWORDS, "Rows", "Columns"]
        )
        known = (str(header.get(keyword, "") or "").strip() for keyword in KEYWORDS)
        return Origin(
            patient=pseudonym(next(filter(None, known), str(file))),
            series=str(header.get("SeriesInstanceUID", "") or ""),
            shape=(int(header.get("Rows", 0) or 0), int(header.get("Columns", 0) or 0)),
        )

"""Whose images they are: read off the source's DICOM, only for derived files that shall say it."""

from __future__ import annotations

from pathlib import Path

import pydicom

from medscore.datasets.dicom.files import is_dicom, list_series
from medscore.datasets.volume import Source
from medscore.errors import MedscoreError, reading

TAGS = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
"""What derived files leave empty unless it is given back."""


def read_identity(path: Path, source: Source) -> dict[str, str]:
    """The values of ``TAGS`` in the DICOM file or folder that a reconstruction came from.

    Raises:
        MedscoreError: no DICOM, or another study.
    """
    if not path.exists():
        raise MedscoreError("no such file or folder", where=path, hint="give the source's DICOM")
    files = [path]
    if path.is_dir():
        files = [series.files[0] for series in list_series(path)]
    elif not is_dicom(path):
        raise MedscoreError("is no DICOM file", where=path, hint="give the source's DICOM")
    study = source.uids.get("StudyInstanceUID")
    for file in files:
        with reading("DICOM", file):
            ds = pydicom.dcmread(file, stop_before_pixels=True)
            if study and ds.get("StudyInstanceUID") == study:
                return {tag: str(ds.get(tag, "")) for tag in TAGS}
    raise MedscoreError(
        "is of another study than the measurement", where=path,
        hint="give the DICOM that the measurement was made from",
    )  # fmt: skip

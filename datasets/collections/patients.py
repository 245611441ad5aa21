"""Which patient and series a DICOM file belongs to, and which names mean the same patient.

Patients are identified by the PatientID, wherever their files lie and however they are named. The
identifier itself is never kept: it is hashed, and the hash is not written to any file.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from medscore.datasets.dicom.files import choose, dicom_files, list_series
from medscore.datasets.dicom.form import is_dicom, quiet, read_dataset
from medscore.errors import MedscoreError, reading
from medscore.io.opening import file_or_folder

STUDY = ("StudyInstanceUID", "SeriesInstanceUID")
"""What stands in for a PatientID that is missing or empty, in order of preference."""

_BESIDE_A_LETTER = re.compile(r"(?<=[^\W\d_])[-_\s]+|[-_\s]+(?=[^\W\d_])")


@dataclass(frozen=True)
class Origin:
    """Patient, series and matrix size of a DICOM file.

    Attributes:
        patient: pseudonym of the patient; None where the file has no PatientID.
        study: pseudonym of its study, or of its series; None where the file has neither.
        series: SeriesInstanceUID, empty where it is missing.
        shape: rows and columns of its image.
    """

    patient: str | None
    study: str | None
    series: str
    shape: tuple[int, int]


def digest(identifier: str) -> str:
    """Hash of a text, 16 hexadecimal digits.

    Args:
        identifier: any text.
    """
    return hashlib.sha256(identifier.encode(errors="surrogateescape")).hexdigest()[:16]


def pseudonym(identifier: str) -> str:
    """Hash of a patient's identifier, equal for all ways to write it, 16 hexadecimal digits.

    Case, a ``sub-`` in front, and hyphens, underscores and spaces beside a letter do not count:
    BIDS files a patient ``P-01`` under ``sub-P01``. The pseudonym of a pseudonym is itself.

    Args:
        identifier: PatientID, or the name of a patient in an archive or of a folder.
    """
    if re.fullmatch(r"[0-9a-f]{16}", identifier):
        return identifier
    text = unicodedata.normalize("NFKC", identifier).strip(" \t\0").casefold()
    return digest(_BESIDE_A_LETTER.sub("", text.removeprefix("sub-")) or text)


def dicom_origin(path: Path, series: str | None = None) -> Origin | None:
    """Origin of a DICOM file, or of the series that is read of a folder; ``None`` without any.

    Args:
        path: file or folder.
        series: series to read from a folder with several.

    Raises:
        MedscoreError: the DICOM file is damaged.
    """
    file = _first(path, series) if file_or_folder(path).is_dir() else path
    if file is None or not is_dicom(file):
        return None
    with reading("DICOM", file), quiet():
        tags = ["PatientID", *STUDY, "Rows", "Columns"]
        header = read_dataset(file, stop_before_pixels=True, specific_tags=tags)
        patient, *studies = (
            str(header.get(keyword, "") or "").strip(" \0") for keyword in ("PatientID", *STUDY)
        )
        return Origin(
            patient=pseudonym(patient) if patient else None,
            study=next((digest(uid) for uid in studies if uid), None),
            series=str(header.get("SeriesInstanceUID", "") or ""),
            shape=(int(header.get("Rows", 0) or 0), int(header.get("Columns", 0) or 0)),
        )


def _first(folder: Path, wanted: str | None) -> Path | None:
    """The first file of the series that is read of a folder, or else of all its files."""
    first = next(dicom_files(folder), None)
    if first is None:
        return None
    try:
        return choose(list_series(folder), wanted, folder).files[0]
    except MedscoreError:  # of which the reader says more
        return first


def digest_of(image: Tensor) -> str:
    """Hash of the values of an image, by which copies are found.

    Args:
        image: of any shape.
    """
    return hashlib.sha256(image.contiguous().numpy().data).hexdigest()


def merged(items: Sequence[Sequence[str]]) -> list[str]:
    """One name for all items that share a key, directly or through others.

    Args:
        items: the keys of each item; the first one is its own name.

    Returns:
        The name of each item: the smallest own name among those that belong together.
    """
    parent: dict[str, str] = {}

    def top(key: str) -> str:
        while parent.setdefault(key, key) != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for keys in items:
        for key in keys[1:]:
            parent[top(key)] = top(keys[0])
    names: dict[str, str] = {}
    for keys in items:
        group = top(keys[0])
        names[group] = min(names.get(group, keys[0]), keys[0])
    return [names[top(keys[0])] for keys in items]

"""Patient and study tags of the source, for derived files that keep the identity on request."""

from __future__ import annotations

from pathlib import Path

from medscore.datasets.dicom.archive import unpacked
from medscore.datasets.dicom.dicomdir import is_dicomdir
from medscore.datasets.dicom.files import list_series
from medscore.datasets.dicom.form import is_dicom, quiet, read_dataset
from medscore.datasets.dicom.uids import valid
from medscore.datasets.volume import Source
from medscore.errors import MedscoreError, reading
from medscore.io.opening import file_or_folder

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
"""Tags that derived files leave empty unless the identity is kept."""


def read_identity(path: str | Path, source: Source) -> dict[str, str]:
    """Read ``TAGS`` from the DICOM file or folder from which a measurement was made.

    Args:
        path: DICOM file, folder, zip archive or DICOMDIR.
        source: provenance of the measurement, with its study.

    Raises:
        MedscoreError: it is not DICOM, or belongs to another study.
    """
    path = Path(path)
    file_or_folder(path, hint="use the source's DICOM")
    study = source.uids.get("StudyInstanceUID")
    with unpacked(path) as place:
        for file in _files(place):
            with reading("DICOM", file), quiet():
                ds = read_dataset(file, stop_before_pixels=True)
                if study and valid(ds.get("StudyInstanceUID", "")) == study:
                    return {tag: str(ds.get(tag, "")) for tag in TAGS}
    raise MedscoreError(
        "belongs to another study than the measurement",
        where=path,
        hint="use the DICOM from which the measurement was made",
    )


def _files(path: Path) -> list[Path]:
    """A file of each series."""
    if path.is_dir() or is_dicomdir(path):
        return [series.files[0] for series in list_series(path)]
    if not is_dicom(path):
        raise MedscoreError("is not a DICOM file", where=path, hint="use the source's DICOM")
    return [path]

"""DICOM files in folders, and the series that they form."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from medscore.datasets.dicom.opening import read_file
from medscore.errors import MedscoreError
from medscore.io.opening import is_regular, open_file

_IDENTITY = (
    "SeriesInstanceUID", "SeriesDescription", "SeriesNumber", "Modality", "Rows", "SOPClassUID",
)  # fmt: skip


@dataclass(frozen=True)
class Series:
    """Files that share a SeriesInstanceUID.

    Attributes:
        uid: SeriesInstanceUID.
        description: SeriesDescription, possibly empty.
        modality: Modality, or "unknown".
        number: SeriesNumber, -1 where it is missing.
        files: files in the order of their names.
        image: whether the files hold pixels; reports and structure sets do not.
    """

    uid: str
    description: str
    modality: str
    number: int
    files: tuple[Path, ...]
    image: bool

    def __str__(self) -> str:
        files = "1 file" if len(self.files) == 1 else f"{len(self.files)} files"
        return f"{self.description or self.uid!r} ({self.modality}, {files})"


def is_dicom(path: str | Path) -> bool:
    """True if a file has the DICOM preamble: 128 bytes, then DICM.

    Args:
        path: an existing file.
    """
    with open_file(path) as file:
        return file.read(132)[128:] == b"DICM"


def dicom_files(folder: Path) -> Iterator[Path]:
    """The DICOM files of a folder and the folders in it, in the order of their names.

    Args:
        folder: an existing folder.
    """
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent) / name
            if is_regular(path) and is_dicom(path):
                yield path


def list_series(folder: str | Path) -> list[Series]:
    """List the series of a folder and the folders in it, by number, then by description.

    Indexes (DICOMDIR) and files that are not DICOM are skipped.

    Args:
        folder: an existing folder.

    Raises:
        MedscoreError: there is no DICOM file, or one is damaged.
    """
    return described(scan(Path(folder), stop_before_pixels=True, specific_tags=list(_IDENTITY)))


def described(members: Mapping[str, Sequence[tuple[Path, Dataset]]]) -> list[Series]:
    """Describe the series that :func:`scan` found, in order.

    Args:
        members: files and headers by SeriesInstanceUID.
    """
    series = [_series(uid, files) for uid, files in members.items()]
    return sorted(series, key=lambda s: (s.number, s.description, s.uid))


def scan(folder: Path, **options: Any) -> dict[str, list[tuple[Path, Dataset]]]:
    """Read the files of each series.

    Args:
        folder: an existing folder.
        options: of ``pydicom.dcmread``.

    Returns:
        Files and what was read of them, by SeriesInstanceUID.

    Raises:
        MedscoreError: as :func:`list_series`.
    """
    found: dict[str, list[tuple[Path, Dataset]]] = {}
    for path in dicom_files(folder):
        header = read_file(path, **options)
        if header.file_meta.get("MediaStorageSOPClassUID") == "1.2.840.10008.1.3.10":
            continue  # a DICOMDIR
        uid = str(header.get("SeriesInstanceUID", "") or "")
        if not uid:
            raise MedscoreError(
                "has no SeriesInstanceUID, or is truncated", where=path, hint="export it again"
            )
        found.setdefault(uid, []).append((path, header))
    if not found:
        raise MedscoreError("no DICOM file in this folder", where=folder, hint="check the path")
    return found


def choose(series: Sequence[Series], wanted: str | None, folder: Path) -> Series:
    """Choose a series by name; without a name, the only series with images.

    Args:
        series: the series of a folder.
        wanted: SeriesInstanceUID, description or a part of one, in any case.
        folder: folder to name in the error.

    Raises:
        MedscoreError: no series or several have that name.
    """
    images = [s for s in series if s.image]
    if not images:
        raise MedscoreError(
            f"holds no image (no PixelData): {series[0]}", where=folder, hint="export it again"
        )
    if wanted is None:
        hits = images
    else:
        low = wanted.lower()
        hits = [s for s in images if s.uid == wanted]
        hits = hits or [s for s in images if s.description.lower() == low]
        hits = hits or [s for s in images if low in s.description.lower()]
    if len(hits) == 1:
        return hits[0]
    shown = "; ".join(str(s) for s in (hits or images)[:5])
    named = "" if wanted is None else f" named {wanted!r}"
    raise MedscoreError(
        f"{len(hits)} series{named} in this folder: {shown}",
        where=folder,
        hint="set `series` to its UID or description, which `medscore inspect` lists",
    )


def _series(uid: str, members: Sequence[tuple[Path, Dataset]]) -> Series:
    first = members[0][1]
    number = first.get("SeriesNumber")
    return Series(
        uid=uid,
        description=str(first.get("SeriesDescription", "") or ""),
        modality=str(first.get("Modality", "unknown") or "unknown"),
        number=-1 if number is None else int(number),
        files=tuple(path for path, _ in members),
        image=any("Rows" in header for _, header in members),
    )

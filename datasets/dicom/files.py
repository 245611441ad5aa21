"""DICOM files in folders, and the series that they form."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from medscore.datasets.dicom.archive import unpacked
from medscore.datasets.dicom.dicomdir import CLASS as INDEX, indexed_files
from medscore.datasets.dicom.form import is_dicom, left_out, quiet, read_dataset
from medscore.errors import MedscoreError, reading
from medscore.io.opening import is_regular

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


@dataclass(frozen=True)
class Listing:
    """The files of a folder and the folders in it.

    Attributes:
        dicom: DICOM files in the order of their names.
        left_out: files that may be slices but cannot be read, with the reason.
    """

    dicom: tuple[Path, ...]
    left_out: Mapping[Path, str]

    def note(self) -> str | None:
        """The files that were left out, in one sentence; ``None`` without any."""
        if not self.left_out:
            return None
        named = [f"{path.name} ({why})" for path, why in self.left_out.items()]
        more = f" and {len(named) - 3} more" if len(named) > 3 else ""
        files = "1 file was" if len(named) == 1 else f"{len(named)} files were"
        return f"{files} left out: {', '.join(named[:3])}{more}"


def listing(folder: Path) -> Listing:
    """Sort the files of a folder into DICOM and files that may be slices but cannot be read.

    Args:
        folder: an existing folder, or an index (DICOMDIR), whose files are listed.

    Raises:
        MedscoreError: the index is damaged or names no file that is there.
    """
    if not folder.is_dir():
        indexed, missing = indexed_files(folder)
        return Listing(tuple(indexed), missing)
    dicom: list[Path] = []
    others: list[Path] = []
    for path in _files(folder):
        (dicom if is_regular(path) and is_dicom(path) else others).append(path)
    like = frozenset(path.suffix.lower() for path in dicom)
    reasons = {path: left_out(path, like) for path in others}
    return Listing(tuple(dicom), {path: why for path, why in reasons.items() if why is not None})


def dicom_files(folder: Path) -> Iterator[Path]:
    """The DICOM files of a folder and the folders in it, in the order of their names.

    Args:
        folder: an existing folder.
    """
    return (path for path in _files(folder) if is_regular(path) and is_dicom(path))


def list_series(folder: str | Path) -> list[Series]:
    """List the series of a folder and the folders in it, by number, then by description.

    Indexes (DICOMDIR) and files that are not DICOM are skipped; :func:`listing` names the latter.

    Args:
        folder: an existing folder, zip archive or DICOMDIR.

    Raises:
        MedscoreError: there is no DICOM file, or one is damaged.
    """
    tags = list(_IDENTITY)
    with unpacked(Path(folder)) as place, quiet():
        files = listing(place)
        return described(scan(place, files, stop_before_pixels=True, specific_tags=tags))


def described(members: Mapping[str, Sequence[tuple[Path, Dataset]]]) -> list[Series]:
    """Describe the series that :func:`scan` found, in order.

    Args:
        members: files and headers by SeriesInstanceUID.
    """
    series = [_series(uid, files) for uid, files in members.items()]
    return sorted(series, key=lambda s: (s.number, s.description, s.uid))


def scan(folder: Path, files: Listing, **options: Any) -> dict[str, list[tuple[Path, Dataset]]]:
    """Read the files of each series.

    Args:
        folder: folder to name in the error.
        files: its files.
        options: of ``pydicom.dcmread``.

    Returns:
        Files and what was read of them, by SeriesInstanceUID.

    Raises:
        MedscoreError: as :func:`list_series`.
    """
    found: dict[str, list[tuple[Path, Dataset]]] = {}
    for path in files.dicom:
        header = read_dataset(path, **options)
        with reading("DICOM", path):
            kind = header.file_meta.get("MediaStorageSOPClassUID")
            uid = str(header.get("SeriesInstanceUID", "") or "")
        if kind == INDEX:
            continue
        if not uid:
            raise MedscoreError(
                "has no SeriesInstanceUID, or is truncated", where=path, hint="export it again"
            )
        found.setdefault(uid, []).append((path, header))
    if not found:
        note = files.note()
        what = f"no DICOM file in this folder{'' if note is None else f'; {note}'}"
        raise MedscoreError(what, where=folder, hint="check the path")
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
    path, first = members[0]
    with reading("DICOM", path):
        number = first.get("SeriesNumber")
        return Series(
            uid=uid,
            description=str(first.get("SeriesDescription", "") or ""),
            modality=str(first.get("Modality", "unknown") or "unknown"),
            number=-1 if number is None else int(number),
            files=tuple(path for path, _ in members),
            image=any("Rows" in header for _, header in members),
        )


def _files(folder: Path) -> Iterator[Path]:
    """All files of a folder and the folders in it, in the order of their names."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(parent) / name for name in sorted(names))

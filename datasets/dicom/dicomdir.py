"""The index of a medium, DICOMDIR (DICOM PS3.3 F.3): the files that it names, as those of a folder.

The names (ReferencedFileID) are relative to the folder of the index.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydicom.dataset import Dataset

from medscore.datasets.dicom.form import is_dicom, quiet, read_dataset
from medscore.errors import MedscoreError, reading
from medscore.io.opening import is_regular, open_file

CLASS = "1.2.840.10008.1.3.10"
"""Media Storage Directory Storage."""

_META, _INDEX = 1024, b"UI\x14\0" + CLASS.encode()


def is_dicomdir(path: Path) -> bool:
    """True if a file is an index by its meta information, and not an image.

    Args:
        path: a regular file.
    """
    with open_file(path) as file:
        head = file.read(_META)
    return head[128:132] == b"DICM" and _INDEX in head


def indexed_files(path: Path) -> tuple[list[Path], dict[Path, str]]:
    """The DICOM files that an index names, and those that cannot be read, with the reason.

    Args:
        path: the index.

    Raises:
        MedscoreError: it is damaged, names no file, or names files outside its folder.
    """
    with reading("DICOM", path), quiet():
        names = list(dict.fromkeys(_names(read_dataset(path))))
    if not names:
        raise MedscoreError(
            "is an index (DICOMDIR) that names no file", where=path, hint="give the folder"
        )
    found: list[Path] = []
    missing: dict[Path, str] = {}
    for parts in names:
        if not parts or any(part in ("", ".", "..") or set(part) & set("/\\:\0") for part in parts):
            raise MedscoreError(
                f"names a file outside its folder: {'/'.join(parts)[:80]!r}", where=path,
                hint="give the folder of the images",
            )  # fmt: skip
        file = _existing(path.parent, parts)
        if file is None:
            missing[path.parent.joinpath(*parts)] = "not there"
        elif not is_regular(file) or not is_dicom(file):
            missing[file] = "not DICOM"
        else:
            found.append(file)
    if not found:
        raise MedscoreError(
            f"is an index (DICOMDIR) of {len(missing)} files, none of which is there",
            where=path, hint="copy the folders beside it too",
        )  # fmt: skip
    return sorted(found), missing


def _names(dataset: Dataset) -> Iterator[tuple[str, ...]]:
    for record in dataset.get("DirectoryRecordSequence") or ():
        name = record.get("ReferencedFileID")
        if name:
            parts = (name,) if isinstance(name, str) else tuple(name)
            yield tuple(str(part).strip(" \0") for part in parts)


def _existing(folder: Path, parts: tuple[str, ...]) -> Path | None:
    """A file by its name, in lower case where the medium was copied so."""
    for names in (parts, tuple(part.lower() for part in parts)):
        if (file := folder.joinpath(*names)).exists():
            return file
    return None

"""DICOM files in a zip archive, as portals and mail programs export them.

The archive is unpacked into a private temporary folder, which is removed after reading. Its members
are checked first: nothing is written outside that folder, nor more than the memory budget.
"""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from medscore.errors import MedscoreError, reading
from medscore.io.budget import check_memory
from medscore.io.hdf5 import INFLATES
from medscore.io.opening import open_file

MEMBERS = 100_000
"""Largest number of files in an archive."""

PIECE = 2**20
"""Bytes unpacked at a time."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def is_zip(path: Path) -> bool:
    """True if a file is a zip archive by its name.

    Args:
        path: any file.
    """
    return path.name.lower().endswith(".zip")


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The folder that a zip archive holds; any other path as it is.

    Errors of the block name the archive and the member, not the temporary folder.

    Args:
        path: zip archive, other file or folder.

    Raises:
        MedscoreError: the archive is damaged or encrypted, holds links or names that lead out of
            the folder, or more than the memory budget.
    """
    if path.is_dir() or not is_zip(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="medscore-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        with reading("a zip archive", path):
            _unpack(path, folder)
        try:
            yield folder
        except MedscoreError as error:
            raise _renamed(error, folder, path) from None


def _unpack(path: Path, folder: Path) -> None:
    with open_file(path) as opened, zipfile.ZipFile(opened) as archive:
        members = [info for info in archive.infolist() if not info.is_dir()]
        if len(members) > MEMBERS:
            raise ValueError(f"{len(members):,} files, at most {MEMBERS:,} are read")
        for info in members:
            _check(info)
        check_memory(sum(info.file_size for info in members), path, "files")
        for info in members:
            target = folder.joinpath(*_parts(info.filename))
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(info) as packed, target.open("xb") as out:
                shutil.copyfileobj(packed, out, PIECE)


def _check(info: zipfile.ZipInfo) -> None:
    """Reject a member that is a link, has another name than of a file below, or is a bomb."""
    name = f"{info.filename[:60]!r}"
    mode = stat.S_IFMT(info.external_attr >> 16)
    if mode not in (0, stat.S_IFREG):
        raise ValueError(f"{name} is a link or a device")
    if not _parts(info.filename):
        raise ValueError(f"{name} leads out of the archive")
    if info.flag_bits & 1:
        raise ValueError(f"{name} is encrypted")
    if info.compress_type not in _METHODS:
        raise ValueError(f"{name} is compressed by another method than deflate")
    if info.file_size > 2**16 + INFLATES * info.compress_size:
        raise ValueError(f"{name} declares {info.file_size:,} bytes that the file does not hold")


def _parts(name: str) -> tuple[str, ...]:
    """Parts of a relative path; none if it is none or leads upwards."""
    parts = PurePosixPath(name).parts
    bad = name.startswith("/") or ".." in parts or any(c in name for c in "\\:\0")
    return () if bad else parts


def _renamed(error: MedscoreError, folder: Path, path: Path) -> MedscoreError:
    """The error with the archive, and the member, in place of the temporary folder."""
    place, what = Path(str(error.where or "")), error.what.replace(str(folder), str(path))
    if place == folder:
        return MedscoreError(what, where=path, hint=error.hint)
    if folder in place.parents:
        return MedscoreError(f"{place.relative_to(folder)}: {what}", where=path, hint=error.hint)
    return error

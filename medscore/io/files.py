"""Atomic writes: a file or folder is there completely, or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from medscore.errors import MedscoreError


def atomic_write(path: str | Path, content: bytes) -> None:
    """Write a file under a temporary name and move it into place.

    Args:
        path: file to write.
        content: its bytes.

    Raises:
        MedscoreError: the folder does not exist or cannot be written.
    """
    with atomic_path(path) as partial:
        partial.write_bytes(content)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path that replaces ``path`` on success, and is removed otherwise.

    Args:
        path: file to write.

    Raises:
        MedscoreError: the folder does not exist or cannot be written.
    """
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".part-", suffix=_suffix(path))
    except OSError as error:
        raise _cannot_write(path, error) from error
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o666 & ~_umask())
        partial.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder that becomes ``path`` on success, and is removed otherwise.

    Args:
        path: folder to create.

    Raises:
        MedscoreError: ``path`` exists already, or its parent cannot be written.
    """
    path = Path(path)
    check_absent(path)
    made = [parent for parent in path.parents if not parent.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".part-{path.name}-"))
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        yield partial
        partial.chmod(0o777 & ~_umask())
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if not path.exists():
            for parent in made:
                with suppress(OSError):  # not empty: holds the state of an interrupted run
                    parent.rmdir()


def check_absent(path: str | Path) -> None:
    """Reject an output folder that exists already.

    Args:
        path: folder to create.

    Raises:
        MedscoreError: it exists.
    """
    if os.path.lexists(path):
        raise MedscoreError(
            "the output folder exists already",
            where=path,
            hint="choose another folder or remove it",
        )


def check_new(file: Path) -> None:
    """Refuse to overwrite a file, or to write where it is impossible.

    Args:
        file: the file to be written.

    Raises:
        MedscoreError: it exists, or its folder is missing or not writable.
    """
    if not (file.parent.is_dir() and os.access(file.parent, os.W_OK)):
        raise MedscoreError(
            "its folder does not exist or is not writable", where=file, hint="choose another"
        )
    if file.exists():
        raise MedscoreError(
            "the output file exists already", where=file, hint="choose a new one or remove it"
        )


def _suffix(path: Path) -> str:
    return ".nii.gz" if path.name.endswith(".nii.gz") else path.suffix


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _cannot_write(path: Path, error: OSError) -> MedscoreError:
    return MedscoreError(
        f"cannot be written ({error.strerror or error})",
        where=path,
        hint="check that the folder exists, its permissions, and the free disk space",
    )

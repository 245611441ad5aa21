"""Writes that are whole or not there at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path

from medscore.errors import MedscoreError


def atomic_write(path: Path, content: bytes) -> None:
    """Write ``content`` beside ``path`` and move it into place.

    Raises:
        MedscoreError: the folder is missing or cannot be written.
    """
    with atomic_path(path) as partial:
        partial.write_bytes(content)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path in the folder of ``path`` that replaces it on success, else is removed.

    Raises:
        MedscoreError: the folder is missing or cannot be written.
    """
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
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside ``path`` that becomes it on success, else is removed.

    Raises:
        MedscoreError: ``path`` exists already, or its parent cannot be written.
    """
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
                with suppress(OSError):  # not empty: it holds the state of an interrupted run
                    parent.rmdir()


def check_absent(path: Path) -> None:
    """Refuse a folder to write that is there.

    Raises:
        MedscoreError: it is.
    """
    if os.path.lexists(path):
        raise MedscoreError(
            "the output folder exists already", where=path, hint="choose a new one or remove it"
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
        hint="check that the folder exists, its permissions and the free space",
    )


def config_path(path: str | Path, *kinds: str) -> Path:
    """The file of a configuration given by path, or by the name of one that ships with medscore.

    Args:
        path: path of a YAML file, or a name.
        kinds: folders of ``configs`` in which names are looked up.

    Raises:
        MedscoreError: neither.
    """
    path = Path(path)
    if path.is_file():
        return path
    folder = Path(str(files("medscore.configs")))
    shipped = {file.stem: file for kind in kinds for file in sorted((folder / kind).glob("*.yaml"))}
    if str(path) in shipped:
        return shipped[str(path)]
    raise MedscoreError(
        "no such configuration",
        where=path,
        hint=f"use a YAML file, or one of: {', '.join(shipped)}",
    )

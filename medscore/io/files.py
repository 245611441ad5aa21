"""Atomic writes: a file or folder is there completely, or not at all, also after a power failure.

What is being written has the name of its output with the prefix ``.part-``, so that the next run
with the same output takes over what a killed one left behind. It is synced before it gets its name,
and the folder afterwards. The saved state of a run is removed last.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from medscore.errors import WriteError
from medscore.io.claims import (
    WRITTEN,
    check_absent as check_absent,
    check_new as check_new,
    forget as forget,
    tidy as tidy,
)
from medscore.io.disk import sync, sync_tree
from medscore.io.locks import lock_beside, open_locked, run_lock
from medscore.io.overwrite import aside, replaced

PART = ".part-"
"""Prefix of the names of unfinished files and folders."""


def atomic_write(path: str | Path, content: bytes) -> None:
    """Write a file under a temporary name and move it into place.

    Args:
        path: file to write.
        content: its bytes.

    Raises:
        WriteError: the folder does not exist or cannot be written.
    """
    with atomic_path(path) as partial:
        partial.write_bytes(content)


@contextmanager
def atomic_path(path: str | Path, states: Sequence[Path] = ()) -> Iterator[Path]:
    """Give a temporary path that replaces ``path`` on success, and is removed otherwise.

    The temporary file is locked, so that another process that writes the same file waits. HDF5
    locks its files as well: write those to memory first.

    Args:
        path: file to write.
        states: saved states of the run, which are removed afterwards.

    Raises:
        WriteError: the folder does not exist or cannot be written.
    """
    path = Path(path)
    try:
        handle, partial = _part_file(path)
    except OSError as error:
        raise WriteError(path, error) from error
    try:
        yield partial
        partial.chmod(0o666 & ~_umask())
        nested = any(parent.name.startswith(PART) for parent in path.absolute().parents)
        if not nested:  # an unfinished folder is synced as a whole
            sync(partial)
        _mark(states, partial)
        partial.replace(path)
        if not nested:
            sync(path.parent)
        forget(states)
    except OSError as error:
        raise WriteError(path, error) from error
    finally:
        with suppress(OSError):  # its folder was removed
            partial.unlink(missing_ok=True)
        os.close(handle)


@contextmanager
def atomic_folder(path: str | Path, states: Sequence[Path] = ()) -> Iterator[Path]:
    """Give a temporary folder that becomes ``path`` on success, and is removed otherwise.

    Args:
        path: folder to create.
        states: saved states of the run, which are removed afterwards.

    Raises:
        MedscoreError: ``path`` exists already, another run is writing it, or its parent cannot be
            written.
    """
    path = Path(path)
    check_absent(path, states)
    made = [parent for parent in path.parents if not parent.exists()]
    partial = path.parent / f"{PART}{path.name}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with run_lock(lock_beside(path), path):
            check_absent(path)
            shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
            partial.mkdir()
            try:
                yield partial
                sync_tree(partial)
                _mark(states, partial)
                with replaced(path):
                    partial.rename(path)
                sync(path.parent)
                forget(states)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except WriteError as error:
        if partial not in Path(error.where or "").parents:
            raise
        raise WriteError(path, error.error) from error
    except OSError as error:
        if _names_another(error, partial):
            raise
        raise WriteError(path, error) from error
    finally:
        if not path.exists():
            remove_empty(made)


@contextmanager
def working_folder(folder: Path, has_results: Callable[[], bool]) -> Iterator[None]:
    """Make an output folder that runs continue in, and keep other runs out of it.

    If this run made the folder, and a write fails before there is any result, it is removed again.

    Args:
        folder: the folder.
        has_results: whether the folder holds anything that a later run can use.

    Raises:
        MedscoreError: another run is writing the folder, or it cannot be written.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        with aside(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with run_lock(folder / ".lock", folder):
                yield
    except (OSError, WriteError) as error:
        if folder in made and not has_results():
            shutil.rmtree(folder, ignore_errors=True)
            remove_empty(made)
        if isinstance(error, OSError) and not _names_another(error, folder):
            raise WriteError(folder, error) from error
        raise


def remove_empty(folders: Sequence[Path]) -> None:
    """Remove folders that are empty, such as those that a failed run made.

    Args:
        folders: the innermost first.
    """
    for folder in folders:
        with suppress(OSError):  # not empty: holds the state of an interrupted run
            folder.rmdir()


def _part_file(path: Path) -> tuple[int, Path]:
    """An empty file to write, and a descriptor that locks it."""
    partial = path.parent / f"{PART}{path.name}"
    if partial.is_symlink():  # what it leads to is nobody's part
        partial.unlink()
    handle, locked = open_locked(partial, wait=True)
    if locked:
        os.truncate(handle, 0)
        return handle, partial
    os.close(handle)
    partial.unlink(missing_ok=True)
    suffix = ".nii.gz" if path.name.endswith(".nii.gz") else path.suffix
    handle, name = tempfile.mkstemp(suffix, f"{partial.name}-", path.parent)
    return handle, Path(name)


def _mark(states: Sequence[Path], output: Path) -> None:
    """Note in the states which output is about to be complete."""
    for state in states:
        if state.is_dir():
            atomic_write(state / WRITTEN, str(output.stat().st_ino).encode())


def _names_another(error: OSError, folder: Path) -> bool:
    """Whether an error is about neither a folder, nor its content, nor the folders above it."""
    if not isinstance(error.filename, str | os.PathLike):
        return False
    named = Path(error.filename)
    return named != folder and folder not in named.parents and named not in folder.parents


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

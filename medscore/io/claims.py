"""Whether an output may be written: it does not exist yet, or it may be replaced."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from medscore.errors import MedscoreError
from medscore.io.locks import lock_beside, run_lock
from medscore.io.overwrite import check_replaceable, is_allowed

WRITTEN = "written"
"""File in a saved state that names the inode of the finished output."""


def check_absent(path: str | Path, states: Sequence[Path] = ()) -> None:
    """Reject an output folder that exists already.

    Args:
        path: folder to create.
        states: saved states of the run; those of a run that was killed after it had finished the
            folder are removed.

    Raises:
        MedscoreError: it exists, and may not be replaced.
    """
    if os.path.lexists(path):
        tidy(Path(path), states)
        if is_allowed():
            check_replaceable(Path(path))
            return
        raise MedscoreError(
            "the output folder exists already",
            where=path,
            hint="choose another folder, or set `overwrite`",
        )


def check_new(file: Path, states: Sequence[Path] = ()) -> None:
    """Refuse to overwrite a file, or to write where it is impossible.

    Args:
        file: the file to be written.
        states: saved states of the run, as for :func:`check_absent`.

    Raises:
        MedscoreError: it exists and may not be replaced, or its folder is missing or not writable.
    """
    if not (file.parent.is_dir() and os.access(file.parent, os.W_OK)):
        raise MedscoreError(
            "its folder does not exist or is not writable", where=file, hint="choose another"
        )
    if os.path.lexists(file):  # a symbolic link that leads nowhere would be replaced
        tidy(file, states)
        if is_allowed():
            check_replaceable(file)
            return
        raise MedscoreError(
            "the output file exists already",
            where=file,
            hint="choose a new one, or set `overwrite`",
        )


def forget(states: Sequence[Path]) -> None:
    """Remove saved states, their mark last, so that a kill meanwhile leaves one that is known.

    Args:
        states: folders; they need not exist.
    """
    for state in states:
        files = sorted(state.glob("*"), key=lambda file: file.name == WRITTEN)
        with suppress(OSError):  # what stays is refused or removed by the next run
            for file in files:
                file.unlink(missing_ok=True)
            state.rmdir()


def tidy(output: Path, states: Sequence[Path]) -> None:
    """Remove what a run left that was killed right after it had finished this output.

    Args:
        output: the finished file or folder.
        states: saved states of the run.
    """
    done = [state for state in states if _is_done(state, output)]
    lock = lock_beside(output)
    if done or lock.exists():
        with suppress(MedscoreError), run_lock(lock, output):  # another run may be at it
            forget(done)


def _is_done(state: Path, output: Path) -> bool:
    """Whether a state is that of the run that wrote an output, or nothing is left of it."""
    left = [file.name for file in state.glob("*")]
    if WRITTEN not in left:
        return state.is_dir() and not left
    return (state / WRITTEN).read_text() == str(output.lstat().st_ino)

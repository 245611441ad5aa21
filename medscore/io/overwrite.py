"""Replacing an older output: only by a complete new one, and only what medscore has written.

An output folder is replaced as a whole if it holds a file that only medscore writes, a file if it
says that medscore wrote it. Everything else is refused.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from medscore.errors import Interrupted, MedscoreError
from medscore.io.locks import run_lock

MARKS = (
    "provenance.json", "study.db", "state.safetensors", "likelihood.csv", "cells", "summary.csv",
)  # fmt: skip
"""Names of files and folders of which every output folder holds at least one."""

OLD = ".part-old-"
"""Prefix of the name of an output that is being replaced."""

SIGNS = (
    (b"medscore",),
    (b"code.npy", b"sde.npy", b"nfe.npy"),
    (b'"of": ', b'"compared": '),
    (b'"prior": ', b'"deviation": ', b'"count": '),
)
"""What files of medscore hold: its name; codes; a comparison of images; typical likelihoods."""

ENDS = 2**20
"""Bytes at each end of a file that are searched for signs."""

_allowed: ContextVar[bool] = ContextVar("overwrite", default=False)


def is_allowed() -> bool:
    """True while outputs may be replaced."""
    return _allowed.get()


def allow(value: bool) -> None:
    """Say whether outputs may be replaced from now on.

    Args:
        value: whether they may.
    """
    _allowed.set(value)


def check_replaceable(path: Path) -> None:
    """Refuse to replace what medscore has not written.

    Args:
        path: an existing file or folder.

    Raises:
        MedscoreError: it is a link, the working folder or one above it, or no output of medscore.
    """
    if path.is_symlink():
        raise _refusal(path, "is a symbolic link")
    if path.is_dir():
        here = Path.cwd()
        if path.resolve() in (here, *here.parents, Path.home()):
            raise _refusal(path, "is the working folder, or one above it")
        if any(path.iterdir()) and not _holds_results(path):
            raise _refusal(path, "holds no output of medscore")
    elif not (path.is_file() and _is_ours(path)):
        raise _refusal(path, "is no output of medscore")


@contextmanager
def replaced(path: Path) -> Iterator[None]:
    """Put an older output aside while the new one gets its name, and delete it afterwards.

    Args:
        path: the output; nothing is done if it does not exist.
    """
    if not os.path.lexists(path):
        yield
        return
    check_replaceable(path)
    old = path.parent / f"{OLD}{path.name}"
    shutil.rmtree(old, ignore_errors=True)
    path.rename(old)
    try:
        yield
    except BaseException:
        old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def aside(folder: Path) -> Iterator[None]:
    """Put an older folder aside while a run fills a new one, and delete it at its end.

    It comes back if the run fails. After Ctrl-C it stays aside, and the same call resumes.

    Args:
        folder: the folder that the run fills; nothing is done unless outputs may be replaced.
    """
    old = folder.parent / f"{OLD}{folder.name}"
    if not is_allowed() or not (folder.exists() or old.exists()):
        yield
        return
    if not old.exists():
        check_replaceable(folder)
        with run_lock(folder / ".lock", folder):
            pass  # no other run is writing it
        folder.rename(old)
    try:
        yield
    except (KeyboardInterrupt, Interrupted):
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _holds_results(folder: Path) -> bool:
    inside = (folder / mark for mark in MARKS)
    return any(one.exists() for one in inside) or any(folder.glob(f"*/{MARKS[0]}"))


def _is_ours(file: Path) -> bool:
    """True if the first or last bytes of a file hold the signs of one that medscore writes."""
    with file.open("rb") as stream:
        size = file.stat().st_size
        found = stream.read(ENDS)
        stream.seek(max(0, size - ENDS))
        found += stream.read(ENDS)
    return any(all(sign in found for sign in signs) for signs in SIGNS)


def _refusal(path: Path, why: str) -> MedscoreError:
    return MedscoreError(
        f"{why}, and is not replaced", where=path, hint="choose another output, or remove it"
    )

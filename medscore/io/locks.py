"""Locks that keep two runs with the same output apart.

The operating system holds them (flock) and releases them when a process ends, also when it is
killed. A lock file that a killed run left behind is therefore not in the way: the next run with the
same output takes it over, and removes it at its end. Where there is no flock, on Windows and on
some network file systems, runs are not kept apart.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medscore.errors import MedscoreError, WriteError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
"""Errors of file systems without flock."""

FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
"""No symbolic link is followed: one by the name of a lock could lead to any file."""


def lock_beside(output: Path) -> Path:
    """The lock file of an output that appears at the end of its run: a hidden file beside it.

    Args:
        output: file or folder.
    """
    return output.parent / f".{output.name}.lock"


@contextmanager
def run_lock(file: Path, output: Path) -> Iterator[None]:
    """Hold the lock of an output.

    Args:
        file: the lock file; it is removed at the end.
        output: the output, for error messages.

    Raises:
        MedscoreError: another run holds the lock, or the file cannot be written.
    """
    try:
        handle, _ = open_locked(file, wait=False)
    except BlockingIOError:
        raise MedscoreError(
            "another run is writing this output", where=output,
            hint="wait for its end, or choose another output",
        ) from None  # fmt: skip
    except OSError as error:
        raise WriteError(output, error) from error
    try:
        yield
    finally:
        file.unlink(missing_ok=True)  # before the release: the next run makes a new file
        os.close(handle)


def open_locked(file: Path, *, wait: bool) -> tuple[int, bool]:
    """Open a file, made if it does not exist, and lock it; closing the descriptor unlocks it.

    Args:
        file: the file.
        wait: whether to wait while another process, or another descriptor, holds the lock.

    Returns:
        The descriptor, and whether it is locked: not so on a file system without flock.

    Raises:
        BlockingIOError: the lock is held elsewhere, and ``wait`` is False.
        OSError: the file cannot be opened.
    """
    while True:
        handle = os.open(file, FLAGS, 0o666)
        try:
            locked = _lock(handle, wait)
            if not locked or _is_at(handle, file):
                return handle, locked
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # its holder removed or moved it meanwhile


def _lock(handle: int, wait: bool) -> bool:
    """Lock a descriptor; False where that is not supported."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in UNSUPPORTED:
            return False
        raise
    return True


def _is_at(handle: int, file: Path) -> bool:
    try:
        there = file.stat()
    except FileNotFoundError:
        return False
    own = os.fstat(handle)
    return (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino)

"""The one opener: only regular files and folders are opened, whatever a path leads to.

A path may lead to a named pipe, which blocks its reader for ever, to a device without an end, to a
socket, or to a loop of symbolic links. Every file that a user gives, or that a folder holds, passes
:func:`regular_file` or :func:`open_file` before a library reads it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from medscore.errors import MedscoreError

KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}
"""What a path leads to if it is no regular file, by the type bits of its mode."""

KERNEL = ("/proc/", "/sys/")
"""Folders of what Linux calls regular files, though reading some of them waits for ever."""

TEXT = 2**24
"""Largest size in bytes of a file that is read as text."""


def regular_file(
    path: str | os.PathLike[str], what: str = "file", hint: str = "check the path"
) -> Path:
    """Check that a path leads to a regular file that can be read, and return it.

    Args:
        path: the path; symbolic links are followed.
        what: noun for the file in the message, such as "prior".
        hint: what the user can do if there is no such file.

    Raises:
        MedscoreError: there is no such file, it cannot be opened, or it is a folder, a named pipe,
            a device, a socket or a loop of symbolic links.
    """
    mode = _mode(path, what, hint)
    if not stat.S_ISREG(mode):
        raise _other(path, mode, f"a {what} is expected" if what != "file" else "expected a file")
    return _readable(path)


def file_or_folder(
    path: str | os.PathLike[str], what: str = "file or folder", hint: str = "check the path"
) -> Path:
    """Check that a path leads to a regular file or a folder that can be read, and return it.

    Args:
        path: the path; symbolic links are followed.
        what: noun for it in the message.
        hint: what the user can do if there is nothing.

    Raises:
        MedscoreError: there is nothing, it cannot be opened, or it is neither.
    """
    mode = _mode(path, what, hint)
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise _other(path, mode, "expected a file or a folder")
    return _readable(path)


def is_regular(path: str | os.PathLike[str]) -> bool:
    """True if a path leads to a regular file; False for everything else, without an error.

    Args:
        path: any path.
    """
    try:
        return stat.S_ISREG(Path(path).stat().st_mode)
    except (OSError, ValueError):
        return False


def is_there(path: str | os.PathLike[str]) -> bool:
    """True if there is anything at a path, even what cannot be opened.

    Args:
        path: any path.
    """
    try:
        return os.path.lexists(path)
    except ValueError:
        return False


@contextmanager
def open_file(
    path: str | os.PathLike[str], what: str = "file", hint: str = "check the path"
) -> Iterator[BufferedReader]:
    """Open a regular file for reading bytes; anything else is refused without waiting for it.

    Args:
        path: the path; symbolic links are followed.
        what: see :func:`regular_file`.
        hint: see :func:`regular_file`.

    Raises:
        MedscoreError: as :func:`regular_file`.
    """
    regular_file(path, what, hint)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise _closed(path, error) from error
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):  # exchanged since it was checked
            raise _other(path, mode, "expected a file")
        yield file


def read_bytes(
    path: str | os.PathLike[str],
    what: str = "file",
    hint: str = "check the path",
    most: int | None = None,
) -> bytes:
    """Read a regular file.

    Args:
        path: the path.
        what: see :func:`regular_file`.
        hint: see :func:`regular_file`.
        most: largest size in bytes; any by default.

    Raises:
        MedscoreError: as :func:`regular_file`, or the file is larger than ``most``.
    """
    with open_file(path, what, hint) as file:
        size = os.fstat(file.fileno()).st_size
        if most is not None and size > most:
            raise MedscoreError(
                f"has {size:,} bytes, at most {most:,} are read", where=Path(path),
                hint="check that it is the right file",
            )  # fmt: skip
        return file.read()


def file_sha256(path: str | os.PathLike[str]) -> str:
    """The sha256 of a regular file, computed without holding it in memory.

    Args:
        path: the path.

    Raises:
        MedscoreError: as :func:`regular_file`.
    """
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mode(path: str | os.PathLike[str], what: str, hint: str) -> int:
    """Mode bits of what a path leads to."""
    try:
        return Path(path).stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MedscoreError(f"no such {what}", where=Path(path), hint=hint) from error
    except ValueError as error:
        raise MedscoreError(
            "the path holds a null character", where=str(path).replace("\0", "\\0"), hint=hint
        ) from error
    except OSError as error:
        raise _closed(path, error) from error


def _readable(path: str | os.PathLike[str]) -> Path:
    if os.path.realpath(path).startswith(KERNEL):
        raise MedscoreError(
            "is made by the kernel, expected a file on a disk", where=Path(path),
            hint="copy the content to a file",
        )  # fmt: skip
    if not os.access(path, os.R_OK):
        raise _closed(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
    return Path(path)


def _closed(path: str | os.PathLike[str], error: OSError) -> MedscoreError:
    if error.errno == errno.ELOOP:
        return MedscoreError(
            "is a loop of symbolic links", where=Path(path), hint="give the file itself"
        )
    denied = isinstance(error, PermissionError)
    return MedscoreError(
        f"cannot be opened ({error.strerror or error})", where=Path(path),
        hint="check permissions" if denied else "check the path",
    )  # fmt: skip


def _other(path: str | os.PathLike[str], mode: int, wanted: str) -> MedscoreError:
    return MedscoreError(
        f"is {KINDS.get(stat.S_IFMT(mode), 'no regular file')}, {wanted}", where=Path(path),
        hint="copy the content to a file",
    )  # fmt: skip

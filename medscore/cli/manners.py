"""Options of all commands: what is shown, where it is kept, and whether outputs are replaced.

They may stand before the command or after it.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from platform import platform, python_version
from typing import IO, Any

from medscore import __version__
from medscore.cli.progress import console
from medscore.cli.quiet import OWN, notes
from medscore.errors import MedscoreError, WriteError
from medscore.io import overwrite

FLAGS = ("--overwrite", "--quiet", "-q", "--verbose")
VALUED = ("--log-file", "--memory")
"""Options of all commands without and with a value."""

about = logging.getLogger(__name__)

_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def in_front(arguments: Sequence[str]) -> list[str]:
    """The arguments with the options of all commands moved before the command.

    Args:
        arguments: of the command line, without the program.
    """
    front, rest, words = list[str](), list[str](), list(arguments)
    while words:
        word = words.pop(0)
        if word == "--":
            rest += [word, *words]
            break
        if word in FLAGS or (word.partition("=")[0] in VALUED and "=" in word):
            front.append(word)
        elif word in VALUED and words:
            front += [word, words.pop(0)]
        else:
            rest.append(word)
    return [*front, *rest]


def begin(
    *, replace: bool = False, quiet: bool = False, verbose: bool = False, log: Path | None = None
) -> None:
    """Set the manners of this run of the command line.

    Args:
        replace: outputs of medscore may be replaced.
        quiet: show results and errors only.
        verbose: show the log of the library, with times.
        log: file that what is shown is appended to, with times.

    Raises:
        MedscoreError: quiet and verbose exclude each other, or the file cannot be written.
    """
    if quiet and verbose:
        raise MedscoreError("`quiet` and `verbose` exclude each other", hint="use one of them")
    overwrite.allow(replace)
    console.quiet = notes.quiet = quiet
    if verbose:
        notes.setLevel(logging.DEBUG)
        logging.getLogger(OWN).setLevel(logging.DEBUG)
    if log is not None:
        keeper.open(log)
    about.info("medscore %s, Python %s, %s", __version__, python_version(), platform())


@contextmanager
def manners() -> Iterator[None]:
    """Undo :func:`begin` at the end of a run."""
    try:
        yield
    finally:
        overwrite.allow(False)
        console.quiet = notes.quiet = False
        notes.setLevel(logging.WARNING)
        logging.getLogger(OWN).setLevel(logging.NOTSET)
        keeper.close()


class Keeper:
    """Appends what is shown to a log file, line by line with the time, without colours."""

    def __init__(self) -> None:
        self._file: IO[str] | None = None
        self._stdout: Any = None

    def open(self, path: Path) -> None:
        """Begin a log file, or continue one.

        Args:
            path: the file.

        Raises:
            WriteError: it cannot be written.
        """
        try:
            self._file = path.open("a", encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise WriteError(path, error) from error
        self.keep("medscore " + " ".join(sys.argv[1:]))
        notes.keep = console.keep = self.keep
        self._stdout = sys.stdout
        sys.stdout = _Tee(sys.stdout, self)

    def keep(self, text: str) -> None:
        """Append a text.

        Args:
            text: one line or several.
        """
        if self._file is not None:
            for line in _CODES.sub("", text).splitlines() or [""]:
                self._file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
            self._file.flush()

    def close(self) -> None:
        """End the log file."""
        if self._stdout is not None:
            sys.stdout, self._stdout = self._stdout, None
        notes.keep = console.keep = None
        if self._file is not None:
            self._file.close()
            self._file = None


class _Tee:
    """Standard output whose lines are kept too."""

    def __init__(self, stream: Any, owner: Keeper) -> None:
        self._stream, self._owner, self._line = stream, owner, ""

    def write(self, text: str) -> int:
        """Write a text, and keep the lines that are complete."""
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._owner.keep(line)
        return int(self._stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


keeper = Keeper()
"""The log file of this run."""

"""Standard error holds what medscore says, and nothing of the libraries that it calls.

Libraries warn and log while they read a file, some of them from C through the file descriptor of
standard error. Beside a refusal, which is one line, this is noise, and beside a success too: what
matters is in the notes of the readers. So while a command runs, warnings and log records of other
packages are dropped, and the descriptor leads to a temporary file, which is shown only after an
unexpected error. Notes of medscore wait until the input was accepted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from medscore.errors import MedscoreWarning

OWN = "medscore"
"""Name of the package whose log records are shown."""

STDERR = 2
"""File descriptor of standard error."""


class Notes(logging.Handler):
    """Keeps the notes of medscore until :meth:`show`, and prints later ones at once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._waiting: list[str] | None = []
        self.quiet = False
        self.keep: Callable[[str], None] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep or print a record of medscore; drop those of other packages.

        Args:
            record: the log record.
        """
        if record.name.partition(".")[0] == OWN:
            text = record.getMessage()
            if self.level < logging.WARNING:  # verbose
                at = time.strftime("%H:%M:%S", time.localtime(record.created))
                self._print(f"{at} {record.levelname.lower()} {record.name}: {text}")
            else:
                self.note(text)

    def note(self, text: str) -> None:
        """Keep or print a note.

        Args:
            text: one line.
        """
        if self._waiting is None:
            self._print(text)
        else:
            self._waiting.append(text)

    def _print(self, text: str) -> None:
        if self.keep is not None:
            self.keep(text)
        if not self.quiet:
            print(text, file=sys.stderr)

    def show(self) -> None:
        """Print the notes so far, and from now on each one at once."""
        waiting, self._waiting = self._waiting or [], None
        for text in waiting:
            self._print(text)

    def drop(self) -> None:
        """Forget the notes so far: the input was refused."""
        self._waiting = []


notes = Notes()


def open_streams() -> None:
    """Lead standard streams that are closed to nowhere.

    Python has None for them then, and the next file that is opened gets their descriptor, so that
    what a library prints would be written into it.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            try:
                os.fstat(descriptor)
            except OSError:  # closed: files get the lowest free descriptor
                os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, Path(os.devnull).open("r+", encoding="utf-8"))  # noqa: SIM115


@contextlib.contextmanager
def only_ours() -> Iterator[None]:
    """Keep everything but medscore's own words from standard error while a command runs."""
    root = logging.getLogger()
    notes.drop()
    root.addHandler(notes)
    try:
        with _descriptor(), warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.showwarning = _warning
            try:
                yield
            finally:
                notes.show()
    finally:
        root.removeHandler(notes)


def _warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """A warning of medscore becomes a note; others are dropped."""
    if issubclass(category, MedscoreWarning):
        notes.note(str(message))


@contextlib.contextmanager
def _descriptor() -> Iterator[None]:
    """Point the descriptor of standard error at a temporary file, and ``sys.stderr`` where it was.

    Nothing is done where ``sys.stderr`` is not that descriptor.
    """
    before = sys.stderr
    try:
        plain = before.fileno() == STDERR
    except (AttributeError, OSError, ValueError):
        plain = False
    if not plain:
        yield
        return
    before.flush()
    with contextlib.ExitStack() as stack:
        said: IO[bytes] = stack.enter_context(tempfile.TemporaryFile())
        kept = os.dup(STDERR)
        ours = os.fdopen(
            os.dup(kept), "w", buffering=1, encoding=before.encoding, errors="backslashreplace"
        )
        stack.enter_context(ours)
        os.dup2(said.fileno(), STDERR)
        sys.stderr = ours
        try:
            yield
        except Exception:  # a fault of the program: everything may help
            said.seek(0)
            ours.write(said.read().decode(errors="replace"))
            raise
        finally:
            ours.flush()
            sys.stderr = before
            os.dup2(kept, STDERR)
            os.close(kept)

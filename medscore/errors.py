"""The one error class that users see: what is wrong, where, and what to do about it, on one line.

Messages name parameters in backquotes, as ```steps` is 0``; the command line shows the option that
sets the parameter instead, ``--steps is 0``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class MedscoreError(Exception):
    """Bad input at a boundary: a file, a configuration, a parameter, a prior that does not fit.

    Args:
        what: what is wrong, with the offending value.
        where: the file or field in which it was found.
        hint: what the user can do about it.
    """

    def __init__(self, what: str, *, where: str | Path | None = None, hint: str = "") -> None:
        self.what, self.where, self.hint = what, where, hint
        place = f"{where}: " if where is not None else ""
        remedy = f" - {hint}" if hint else ""
        super().__init__(" ".join(f"{place}{what}{remedy}".split()))


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during work whose state was saved: repeating the same call resumes it."""


@contextmanager
def reading(kind: str, path: Path, hint: str = "") -> Iterator[None]:
    """Whatever a library raises on a broken file becomes one error that names ``path``: parsers of
    foreign formats fail in ways that they do not list.

    Args:
        kind: DICOM, say. hint: by default to check that the file is one and complete.
    """
    try:
        yield
    except MedscoreError:
        raise
    except Exception as error:
        raise MedscoreError(
            f"cannot be read as {kind} ({reason(error)})",
            where=path,
            hint=hint or f"check that the file is {kind} and complete",
        ) from error


def reason(error: Exception) -> str:
    """The first line of what went wrong."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:160]

"""The one error class a user meets: what is wrong, where, and the mend, on one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class MedscoreError(Exception):
    """Bad input at a boundary (file, configuration, command line, prior/operator compatibility).

    Args:
        what: what is wrong, with the offending value.
        where: the file or field it was found in.
        mend: what the user can do about it.
    """

    def __init__(self, what: str, *, where: str | Path | None = None, mend: str = "") -> None:
        self.what, self.where, self.mend = what, where, mend
        place = f"{where}: " if where is not None else ""
        remedy = f" - {mend}" if mend else ""
        super().__init__(" ".join(f"{place}{what}{remedy}".split()))


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during work whose state was saved: repeating the same call resumes it."""


@contextmanager
def reading(kind: str, path: Path, mend: str = "") -> Iterator[None]:
    """Whatever a library raises on a broken file becomes one error that names ``path``: parsers of
    foreign formats fail in ways that they do not list.

    Args:
        kind: DICOM, say. mend: by default to check that the file is one and complete.
    """
    try:
        yield
    except MedscoreError:
        raise
    except Exception as error:
        raise MedscoreError(
            f"cannot be read as {kind} ({reason(error)})",
            where=path,
            mend=mend or f"check that the file is {kind} and complete",
        ) from error


def reason(error: Exception) -> str:
    """The first line of what went wrong."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:160]

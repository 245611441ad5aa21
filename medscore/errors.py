"""The error class that users see; its message states the fault, its place and a hint in one line.

Messages name parameters in backquotes, such as ```steps` is 0``; the command line shows the option
that sets the parameter instead, ``--steps is 0``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any


class MedscoreError(Exception):
    """Invalid input: a file, a configuration, a parameter, or a prior that does not fit.

    Args:
        what: the fault, with the invalid value.
        where: the file or field with the fault.
        hint: what the user can do about it.
    """

    def __init__(self, what: str, *, where: str | Path | None = None, hint: str = "") -> None:
        self.what, self.where, self.hint = what, where, hint
        place = f"{where}: " if where is not None else ""
        remedy = f" - {hint}" if hint else ""
        super().__init__(" ".join(f"{place}{what}{remedy}".split()))


class WriteError(MedscoreError):
    """A file or folder that cannot be written, such as on a full disk; what was saved before stays.

    Args:
        where: the file or folder.
        error: what the operating system says.
    """

    def __init__(self, where: str | Path, error: Exception) -> None:
        self.error = error
        cause = getattr(error, "strerror", None) or reason(error)
        super().__init__(
            f"cannot be written ({cause})",
            where=where,
            hint="check that the folder exists, its permissions, and the free disk space",
        )

    def __reduce__(self) -> tuple[type[WriteError], tuple[str | Path, Exception]]:
        return WriteError, (self.where or "", self.error)


class MedscoreWarning(UserWarning):
    """Something about the input or the result that the user should know."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during work whose state was saved; repeating the same call resumes it."""


@contextmanager
def reading(kind: str, path: Path, hint: str = "") -> Iterator[None]:
    """Turn all exceptions of a file parser into a MedscoreError that names the file.

    Args:
        kind: format of the file, such as DICOM.
        path: the file.
        hint: what the user can do; by default, check the format and completeness of the file.

    Raises:
        MedscoreError: any exception in the block.
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


def optional_module(
    module: str, user: str, *, install: str = "", where: str | Path | None = None, instead: str = ""
) -> Any:
    """Import a module of a package that only some uses of medscore need.

    Args:
        module: its full name.
        user: what needs it, for the message, such as "Siemens raw data".
        install: what pip installs, such as ``medscore[twix]``; empty if it is not offered there.
        where: file that is read with it.
        instead: what can be done without it.

    Raises:
        MedscoreError: the package is not installed, or cannot be imported.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        absent = isinstance(error, ModuleNotFoundError) and error.name in (package, module)
        fault = "is not installed" if absent else f"cannot be imported ({reason(error)})"
        name = f'"{install}"' if "[" in install else install
        hints = [f"pip install {name}" if install else "", instead]
        raise MedscoreError(
            f"{user} needs the package {package}, which {fault}",
            where=where,
            hint=", or ".join(filter(None, hints)),
        ) from error


def reason(error: Exception) -> str:
    """The first line of an exception's message, or the name of its class if there is none.

    Args:
        error: the exception.
    """
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:160]

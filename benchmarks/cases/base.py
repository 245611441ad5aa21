"""A public case: an input of a known kind, the right value, and what medscore finds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Found:
    """What medscore makes of a case.

    Attributes:
        text: the value found, or the first line of the refusal.
        right: whether that is what the case expects.
    """

    text: str
    right: bool


@dataclass(frozen=True)
class Case:
    """An input on which software of this field is known to go wrong.

    Attributes:
        kind: heading in the table, such as "ISMRMRD acquisitions".
        what: the input.
        expected: the right value, in words, with its tolerance.
        find: makes the input in an empty folder, runs medscore on it and compares.
        source: a public report of the same kind, or the standard that states the right value.
    """

    kind: str
    what: str
    expected: str
    find: Callable[[Path], Found]
    source: str = ""


def command(*words: str | Path, folder: Path) -> tuple[int, str]:
    """Run the command line.

    Args:
        words: the words after ``medscore``.
        folder: working directory.

    Returns:
        Exit code, and the last line printed.
    """
    done = subprocess.run(
        [sys.executable, "-m", "medscore", *map(str, words)],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines: Sequence[str] = (done.stdout + done.stderr).strip().splitlines() or [""]
    return done.returncode, lines[-1]

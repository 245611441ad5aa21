"""The log of a training run: one line of JSON per entry, and the same curves for TensorBoard."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from medscore.errors import WriteError, reading
from medscore.io.disk import sync
from medscore.io.files import atomic_write
from medscore.io.json_files import parse_json
from medscore.io.opening import is_there, read_bytes
from medscore.training.curves import Curves

NAME = "loss.jsonl"
"""Name of the log."""


class Log:
    """``loss.jsonl`` and ``tensorboard/`` in a folder.

    Entries after ``step`` are dropped at the start: a run that was killed may have logged more
    steps than it saved, or half a line.

    Args:
        folder: output folder of the run.
        step: step of the checkpoint that the run resumes from; 0 for a new run.

    Raises:
        MedscoreError: there is a log that is damaged.
        WriteError: the folder cannot be written.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / NAME
        if self.path.exists():
            valid = [entry for entry in logged(folder) if entry["step"] <= step]
            atomic_write(self.path, "".join(json.dumps(e) + "\n" for e in valid).encode())
        try:
            self.curves = Curves(folder / "tensorboard", step + 1)
        except OSError as error:
            raise WriteError(folder, error) from error

    def add(self, step: int, values: dict[str, float]) -> None:
        """Write an entry.

        Args:
            step: number of the step.
            values: what is logged, by name; each name is a curve in TensorBoard.

        Raises:
            WriteError: the folder cannot be written.
        """
        try:
            with self.path.open("a") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")
            for name, value in values.items():
                self.curves.add(step, name, value)
        except OSError as error:
            raise WriteError(self.path.parent, error) from error

    def sync(self) -> None:
        """Wait until all entries are on the disk, before a checkpoint that counts on them."""
        if self.path.exists():
            sync(self.path)
        self.curves.flush()

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.curves.close()


def logged(folder: Path) -> list[dict[str, Any]]:
    """The entries of a folder's log; only the last line can be incomplete after a kill.

    Args:
        folder: output folder of a run.

    Raises:
        MedscoreError: the log is damaged.
    """
    path = folder / NAME
    content = read_bytes(path) if is_there(path) else b""
    with reading("a training log", path, "remove it, or use a new output folder"):
        lines = content.decode().splitlines()
        entries = [_entry(line) for line in lines[:-1]]
        with suppress(ValueError):
            entries += [_entry(line) for line in lines[-1:]]
    return entries


def _entry(line: str) -> dict[str, Any]:
    entry = parse_json(line, finite=False)
    if not isinstance(entry, dict) or not isinstance(entry.get("step"), int):
        raise ValueError("a line without a step")
    return entry

"""The log of a training run: one line of JSON per entry, and the same curves for TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from medscore.io.files import atomic_write
from medscore.io.opening import read_bytes
from medscore.training.curves import Curves


class Log:
    """``loss.jsonl`` and ``tensorboard/`` in a folder.

    Entries after ``step`` are dropped at the start: a run that was killed may have logged more
    steps than it saved, or half a line.

    Args:
        folder: output folder of the run.
        step: step of the checkpoint that the run resumes from; 0 for a new run.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / "loss.jsonl"
        if self.path.exists():
            valid = [entry for entry in _entries(self.path) if entry["step"] <= step]
            atomic_write(self.path, "".join(json.dumps(e) + "\n" for e in valid).encode())
        self.curves = Curves(folder / "tensorboard", step + 1)

    def add(self, step: int, values: dict[str, float]) -> None:
        """Write an entry.

        Args:
            step: number of the step.
            values: what is logged, by name; each name is a curve in TensorBoard.
        """
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self.curves.add(step, name, value)
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


def _entries(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a log; only the last can be incomplete after a kill."""
    lines = read_bytes(path).decode().splitlines()
    entries = [json.loads(line) for line in lines[:-1]]
    try:
        return [*entries, *(json.loads(line) for line in lines[-1:])]
    except json.JSONDecodeError:
        return entries

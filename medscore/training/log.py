"""The log of a training run: a line of JSON per entry, and the same curves for TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from tensorboardX import SummaryWriter

from medscore.io.files import atomic_write


class Log:
    """``loss.jsonl`` and ``tensorboard/`` in ``folder``, cut back to ``step`` at the start: a run
    that was killed may have logged past its last checkpoint, or half a line.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / "loss.jsonl"
        if self.path.exists():
            kept = [entry for entry in _entries(self.path) if entry["step"] <= step]
            atomic_write(self.path, "".join(json.dumps(e) + "\n" for e in kept).encode())
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def add(self, step: int, values: dict[str, float]) -> None:
        """One entry; its values are curves of their own."""
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self.board.add_scalar(name, value, step)

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.board.close()


def _entries(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a log; a kill can only have torn the last."""
    lines = path.read_text().splitlines()
    entries = [json.loads(line) for line in lines[:-1]]
    try:
        return [*entries, *(json.loads(line) for line in lines[-1:])]
    except json.JSONDecodeError:
        return entries

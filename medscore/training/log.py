"""The log of a training run: one line of JSON per entry, and the same curves for TensorBoard."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from medscore.errors import WriteError
from medscore.io.files import atomic_write, sync

EVENTS = "events.out.tfevents."
"""Beginning of the names of TensorBoard's files; the first step of the file follows."""

FLUSH = 60.0
"""Seconds after which TensorBoard sees new entries, at the latest."""


class Log:
    """``loss.jsonl`` and ``tensorboard/`` in a folder.

    Entries after ``step`` are dropped at the start: a run that was killed may have logged more
    steps than it saved, or half a line. Nothing is read from a clock except the wall times in
    TensorBoard's files.

    Args:
        folder: output folder of the run.
        step: step of the checkpoint that the run resumes from; 0 for a new run.

    Raises:
        WriteError: the folder cannot be written.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / "loss.jsonl"
        if self.path.exists():
            valid = [entry for entry in _entries(self.path) if entry["step"] <= step]
            atomic_write(self.path, "".join(json.dumps(e) + "\n" for e in valid).encode())
        self.board = _Board(folder / "tensorboard", step + 1)

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
            self.board.add(step, values)
        except OSError as error:
            raise WriteError(self.path.parent, error) from error

    def sync(self) -> None:
        """Wait until all entries are on the disk, before a checkpoint that counts on them."""
        if self.path.exists():
            sync(self.path)
        self.board.sync()

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.board.close()


class _Board:
    """An event file of TensorBoard, written by this thread.

    tensorboardX's own writer queues the entries for a thread that ends when the clock is set back,
    and names its files by time and host.
    """

    def __init__(self, folder: Path, first: int) -> None:
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.record_writer import RecordWriter

        self.flushed = time.monotonic()
        try:
            folder.mkdir(exist_ok=True)
            for path in folder.glob(f"{EVENTS}*"):
                if _first_step(path) >= first:  # of a run that was killed before it saved a state
                    path.unlink()
            self.writer = RecordWriter(str(folder / f"{EVENTS}{first:010d}"))
            self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
            started = SessionLog(status=SessionLog.START)
            self._write(Event(wall_time=time.time(), step=first, session_log=started))
        except OSError as error:
            raise WriteError(folder, error) from error

    def add(self, step: int, values: dict[str, float]) -> None:
        """Write a point of each curve."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        for name, value in values.items():
            self._write(Event(wall_time=time.time(), step=step, summary=scalar(name, value)))
        if time.monotonic() - self.flushed > FLUSH:
            self.sync()

    def sync(self) -> None:
        """Wait until the file is on the disk."""
        self.writer.flush()
        self.flushed = time.monotonic()

    def close(self) -> None:
        """Close the file."""
        self.writer.close()

    def _write(self, event: Any) -> None:
        self.writer.write(event.SerializeToString())


def _first_step(path: Path) -> int:
    number = path.name.removeprefix(EVENTS)
    return int(number) if number.isdecimal() else 0


def _entries(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a log; only the last can be incomplete after a kill."""
    lines = path.read_text().splitlines()
    entries = [json.loads(line) for line in lines[:-1]]
    try:
        return [*entries, *(json.loads(line) for line in lines[-1:])]
    except json.JSONDecodeError:
        return entries

"""Curves for TensorBoard: event files that name neither the machine nor the user.

TensorBoard's own writers put the host name into the name of the file, and leave the writing to a
thread that ends when the clock is set back, which is why the records are written here; their format
(length, checksum, protocol buffer) is that of tensorboardX.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

EVENTS = "events.out.tfevents."
"""Beginning of the names of TensorBoard's files."""

FLUSH = 60.0
"""Seconds after which TensorBoard sees new points, at the latest."""


class Curves:
    """One file ``events.out.tfevents.STEP``; TensorBoard shows the curves of a folder's files.

    Files of later steps are removed: their run was killed before it saved a state.

    Args:
        folder: folder of the files, made if it does not exist.
        first: first step of this run; TensorBoard drops what earlier files have from here on.
    """

    def __init__(self, folder: Path, first: int) -> None:
        from tensorboardX.proto.event_pb2 import SessionLog
        from tensorboardX.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob(f"{EVENTS}*"):
            if _first_step(path) >= first:
                path.unlink()
        self._records, self._flushed = RecordWriter(str(folder / f"{EVENTS}{first:010d}")), 0.0
        self._write(file_version="brain.Event:2")
        self._write(step=first, session_log=SessionLog(status=SessionLog.START))

    def add(self, step: int, name: str, value: float) -> None:
        """Add a point.

        Args:
            step: number of the step.
            name: name of the curve.
            value: its value.
        """
        from tensorboardX.summary import scalar

        self._write(step=step, summary=scalar(name, value))
        if time.monotonic() - self._flushed > FLUSH:
            self.flush()

    def flush(self) -> None:
        """Write what was added to the disk."""
        self._records.flush()
        self._flushed = time.monotonic()

    def close(self) -> None:
        """Close the file."""
        self._records.close()

    def _write(self, **content: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._records.write(Event(wall_time=time.time(), **content).SerializeToString())


def _first_step(path: Path) -> int:
    number = path.name.removeprefix(EVENTS)
    return int(number) if number.isdecimal() else 0

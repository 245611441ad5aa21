"""Curves for TensorBoard: event files that name neither the machine nor the user.

TensorBoard's own writers put the host name into the name of the file, which is why the records are
written here; their format (length, checksum, protocol buffer) is that of tensorboardX.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any


class Curves:
    """One file ``events.out.tfevents.TIME.STEP``; TensorBoard shows the curves of a folder's files.

    Args:
        folder: folder of the files, made if it does not exist.
        first: first step of this run; TensorBoard drops what earlier files have from here on.
    """

    def __init__(self, folder: Path, first: int) -> None:
        from tensorboardX.proto.event_pb2 import SessionLog
        from tensorboardX.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time())}.{first:07d}"
        self._records = RecordWriter(str(folder / name))
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

    def flush(self) -> None:
        """Write what was added to the disk."""
        self._records.flush()

    def close(self) -> None:
        """Close the file."""
        self._records.close()

    def _write(self, **content: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._records.write(Event(wall_time=time.time(), **content).SerializeToString())

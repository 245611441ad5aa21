"""The log is truncated to the last checkpoint, whatever a kill left in it."""

import json
import socket
from pathlib import Path

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from medscore.errors import WriteError
from medscore.training.log import Log


def steps(folder: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / "loss.jsonl").read_text().splitlines()]


def fill(folder: Path) -> None:
    with Log(folder, 0) as log:
        for step in (20, 40, 60):
            log.add(step, {"loss": 1 / step})


def test_entries_after_the_checkpoint_are_dropped(tmp_path: Path) -> None:
    fill(tmp_path)
    with Log(tmp_path, 40) as log:
        log.add(60, {"loss": 2.0})
    assert steps(tmp_path) == [20, 40, 60]
    assert '"loss": 2.0' in (tmp_path / "loss.jsonl").read_text()


def test_an_incomplete_last_line_is_dropped(tmp_path: Path) -> None:
    fill(tmp_path)
    text = (tmp_path / "loss.jsonl").read_text()
    (tmp_path / "loss.jsonl").write_text(text[:-9])
    with Log(tmp_path, 60):
        pass
    assert steps(tmp_path) == [20, 40]


def test_an_empty_log_is_valid(tmp_path: Path) -> None:
    (tmp_path / "loss.jsonl").write_text("")
    with Log(tmp_path, 0) as log:
        log.add(1, {"loss": 0.5})
    assert steps(tmp_path) == [1]


def events(file: Path) -> list[Event]:
    """The records of an event file: length, checksum, content, checksum."""
    content, found = file.read_bytes(), []
    while content:
        size = int.from_bytes(content[:8], "little")
        found.append(Event.FromString(content[12 : 12 + size]))
        content = content[12 + size + 4 :]
    return found


def test_tensorboard_files_hold_the_curves_and_not_the_name_of_the_machine(tmp_path: Path) -> None:
    fill(tmp_path)
    with Log(tmp_path, 40) as log:
        log.add(60, {"loss": 2.0})
    first, second = sorted((tmp_path / "tensorboard").iterdir(), key=lambda f: f.name[-7:])
    version, start, *points = events(first)
    assert version.file_version == "brain.Event:2"
    assert (start.session_log.status, start.step) == (SessionLog.START, 1)
    values = [(e.step, e.summary.value[0].tag, e.summary.value[0].simple_value) for e in points]
    assert values == [(20, "loss", np.float32(1 / 20)), (40, "loss", np.float32(1 / 40)),
                      (60, "loss", np.float32(1 / 60))]  # fmt: skip
    assert [e.step for e in events(second)] == [0, 41, 60]
    for file in (first, second):
        assert socket.gethostname() not in file.name
        assert socket.gethostname().encode() not in file.read_bytes()


def test_curves_that_a_killed_run_wrote_beyond_its_state_are_dropped(tmp_path: Path) -> None:
    fill(tmp_path)
    for value in (2.0, 3.0):
        with Log(tmp_path, 40) as log:
            log.add(60, {"loss": value})
    first, second = sorted((tmp_path / "tensorboard").iterdir())
    assert len(events(first)) == 5
    assert [v.simple_value for e in events(second) for v in e.summary.value] == [3.0]


def test_a_full_disk_is_an_error_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("no folder")
    with pytest.raises(WriteError, match="cannot be written"):
        Log(tmp_path, 0)

"""The log is truncated to the last checkpoint, whatever a kill left in it."""

import json
import struct
from pathlib import Path

import pytest

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


def events(folder: Path) -> list[tuple[int, str, float]]:
    """The points in TensorBoard's files, in the order in which it reads them."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted((folder / "tensorboard").iterdir()):
        content = path.read_bytes()
        while content:
            (size,) = struct.unpack("Q", content[:8])
            event = Event.FromString(content[12 : 12 + size])
            found += [(event.step, v.tag, v.simple_value) for v in event.summary.value]
            content = content[16 + size :]
    return found


def test_a_curve_has_the_points_of_every_start(tmp_path: Path) -> None:
    fill(tmp_path)
    with Log(tmp_path, 40) as log:
        log.add(60, {"loss": 2.0})
    with Log(tmp_path, 40) as log:  # killed before it saved a state: its points are dropped
        log.add(60, {"loss": 3.0})
    found = events(tmp_path)
    assert [step for step, _, _ in found] == [20, 40, 60, 60]
    assert found[-1] == (60, "loss", 3.0)


def test_a_full_disk_is_an_error_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="cannot be written"):
        Log(tmp_path / "none", 0)

"""The log is truncated to the last checkpoint, whatever a kill left in it."""

import json
from pathlib import Path

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

"""Interrupted commands resume with the same result, and never mix two runs."""

import errno
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medscore.engine.loop import StepInfo

Command = Callable[..., Any]
Args = list[object]
Interrupt = Callable[..., None]


@pytest.fixture
def stopped(
    medscore: Command,
    recon_args: Args,
    interrupt: Interrupt,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Callable[..., Path]:
    """Interrupt a reconstruction after some steps; returns its output folder."""

    def stop(steps: int, *options: object) -> Path:
        interrupt(steps)
        result = medscore(*recon_args, *options, "-o", tmp_path / "out")
        assert result.code == 130
        monkeypatch.undo()
        return tmp_path / "out"

    return stop


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_interrupted_run_leaves_only_its_state(stopped: Callable[..., Path]) -> None:
    assert _names(stopped(3).parent) == [".out.resume"]


def test_an_interrupted_run_says_how_to_go_on(
    medscore: Command, recon_args: Args, interrupt: Interrupt, tmp_path: Path
) -> None:
    interrupt(3)
    assert "repeat the same command" in medscore(*recon_args, "-o", tmp_path / "out").err


def test_a_termination_signal_is_as_good_as_ctrl_c(
    medscore: Command,
    done: Command,
    recon_args: Args,
    interrupt: Interrupt,
    reconstructed: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    interrupt(3, signal.SIGTERM)
    assert medscore(*recon_args, "-o", tmp_path / "out").code == 130
    assert _names(tmp_path) == [".out.resume"]
    monkeypatch.undo()
    done(*recon_args, "-o", tmp_path / "out")
    expected = (reconstructed / "recon.nii.gz").read_bytes()
    assert (tmp_path / "out" / "recon.nii.gz").read_bytes() == expected


@pytest.mark.parametrize("steps", [1, 5, 8])
def test_a_resumed_run_ends_as_an_uninterrupted_one(
    stopped: Callable[..., Path], done: Command, recon_args: Args, reconstructed: Path, steps: int
) -> None:
    out = stopped(steps)
    done(*recon_args, "-o", out)
    expected = (reconstructed / "recon.nii.gz").read_bytes()
    assert (out / "recon.nii.gz").read_bytes() == expected
    assert _names(out.parent) == ["out"]


@pytest.mark.slow
def test_a_run_resumes_in_its_second_batch(
    stopped: Callable[..., Path], done: Command, recon_args: Args, tmp_path: Path
) -> None:
    out = stopped(11, "--batch-size", 1)
    done(*recon_args, "--batch-size", 1, "-o", out)
    done(*recon_args, "--batch-size", 1, "-o", tmp_path / "whole")
    whole = (tmp_path / "whole" / "recon.nii.gz").read_bytes()
    assert (out / "recon.nii.gz").read_bytes() == whole


def _record(folder: Path) -> dict[str, Any]:
    """The provenance of a reconstruction, without its duration."""
    record: dict[str, Any] = json.loads((folder / "provenance.json").read_text())
    assert record.pop("seconds") > 0
    return record


@pytest.mark.parametrize("steps", [1, 5, 8])
def test_a_resumed_run_has_the_provenance_of_an_uninterrupted_one(
    stopped: Callable[..., Path], done: Command, recon_args: Args, reconstructed: Path, steps: int
) -> None:
    """In particular it counts all its network evaluations and operator calls."""
    out = stopped(steps)
    done(*recon_args, "-o", out)
    assert _record(out) == _record(reconstructed)
    assert _record(out)["nfe_per_sample"] == 17


@pytest.fixture
def full_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Report a full disk when a file of some name is to get its place."""

    def fill(name: str) -> None:
        real = Path.replace

        def replace(self: Path, target: Path) -> Path:
            if Path(target).name == name:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
            return real(self, target)

        monkeypatch.setattr(Path, "replace", replace)

    return fill


@pytest.mark.parametrize("name", ["0000001.safetensors", "recon.nii.gz", "written"])
def test_a_disk_that_fills_keeps_the_saved_state(
    medscore: Command, done: Command, recon_args: Args, full_at: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str,
) -> None:  # fmt: skip
    """The second batch cannot be saved, or the outputs cannot be written."""
    args = [*recon_args, "--batch-size", 1, "--steps", 2]
    done(*args, "-o", tmp_path / "whole")
    full_at(name)
    result = medscore(*args, "-o", tmp_path / "out")
    assert result.code == 2
    assert "No space left on device" in result.err
    assert _names(tmp_path) == [".out.resume", "whole"]
    monkeypatch.undo()
    steps: list[int] = []
    monkeypatch.setattr(
        "medscore.engine.loop.StepInfo", lambda *info: (steps.append(info[0]), StepInfo(*info))[1]
    )
    done(*args, "-o", tmp_path / "out")
    assert steps == ([3, 4] if name == "0000001.safetensors" else [])
    assert _record(tmp_path / "out") == _record(tmp_path / "whole")
    assert _names(tmp_path) == ["out", "whole"]


def test_a_disk_that_is_full_from_the_start_leaves_nothing(
    refused: Callable[..., str], recon_args: Args, full_at: Callable[[str], None], tmp_path: Path
) -> None:
    full_at("0000000.safetensors")
    assert "No space left on device" in refused(*recon_args, "-o", tmp_path / "new" / "out")


@pytest.mark.parametrize(
    "options",
    [("--seed", 1), ("--steps", 9), ("--samples", 2), ("--snr", 0.2), ("--batch-size", 1)],
    ids=lambda options: options[0],
)
def test_the_state_of_another_run_is_refused(
    stopped: Callable[..., Path],
    refused: Callable[..., str],
    recon_args: Args,
    options: tuple[object, ...],
) -> None:
    out = stopped(3)
    assert "is the saved state of another run" in refused(*recon_args, *options, "-o", out)


def test_a_damaged_state_is_refused(
    stopped: Callable[..., Path], refused: Callable[..., str], recon_args: Args
) -> None:
    out = stopped(3)
    state = out.parent / ".out.resume" / "point.safetensors"
    state.write_bytes(state.read_bytes()[:100])
    assert state.name in refused(*recon_args, "-o", out)

"""Two runs with one output are kept apart, and full disks and streams are named."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from medscore.cli.progress import console, sampling_bar, work_bar
from medscore.engine.loop import StepInfo
from medscore.io.locks import lock_beside, run_lock

Refused = Callable[..., str]
Args = list[object]


@pytest.fixture
def commands(tmp_path: Path, scan: Path, prior: Path, recon_args: Args) -> dict[str, Args]:
    """The long commands without their output."""
    cohort = {"modality": "CT", "data": ["scan.nii.gz"], "size": 32}
    task = {"name": "9 views", "scan": {"task": "sparse-ct", "views": 9}}
    method = {"name": "FBP", "baseline": {"kind": "fista-tv", "iterations": 2, "weight": 1}}
    common = {"cohort": cohort, "metric": {"convention": "ct"}}
    contents: dict[str, dict[str, Any]] = {
        "evaluate": {**common, "name": "e", "title": "E", "ours": "FBP", "tasks": [task],
                     "methods": [method]},
        "tune": {**common, "name": "t", "task": task, "method": method, "trials": 2,
                 "search": {"weight": {"low": 1e-3, "high": 1.0}}},
        "train": {
            "name": "net", "modality": "CT", "quantity": "HU", "low": -1000, "high": 1500,
            "size": 16, "data": ["scan.nii.gz"], "licence": "CC0",
            "sde": {"kind": "ve", "sigma_min": 0.01, "sigma_max": 10.0},
            "network": {"kind": "unet", "channels": [8], "blocks": 1, "fold": 1, "groups": 4},
            "objective": {"kind": "edm"},
            "plan": {"steps": 2, "batch": 2, "learning_rate": 1e-3, "warmup": 1},
        },
    }  # fmt: skip
    found: dict[str, Args] = {}
    for name, content in contents.items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content))
        found[name] = [name, path, "--data", scan.parent]
    own = ["--prior", prior, "--device", "cpu"]
    return {
        **found, "recon": recon_args, "generate": ["generate", "-n", 1, *own],
        "likelihood": ["likelihood", scan, *own], "encode": ["encode", scan, *own],
    }  # fmt: skip


@pytest.mark.parametrize(
    "name", ["recon", "generate", "likelihood", "encode", "train", "evaluate", "tune"]
)
def test_a_second_run_with_the_same_output_is_refused(
    refused: Refused, commands: dict[str, Args], tmp_path: Path, name: str
) -> None:
    keeps = name in ("train", "evaluate", "tune")
    output = tmp_path / ("codes.npz" if name == "encode" else "out")
    if keeps:
        output.mkdir()
    lock = output / ".lock" if keeps else lock_beside(output)
    with run_lock(lock, output):
        error = refused(*commands[name], "-o", output)
    assert "another run is writing this output" in error


@pytest.mark.process
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", [["methods"], ["--version"], ["recon", "--help"]])
def test_a_full_standard_output_is_named(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "medscore", *words],
            stdout=full, stderr=subprocess.PIPE, text=True,
            env={k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"},
        )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: standard output: No space left on device")
    assert ended.stderr.count("\n") == 1


def test_a_long_run_without_a_terminal_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(console, "_force_terminal", False)
    with sampling_bar("out") as show:
        for step in range(1, 101):
            now[0] += 0.5
            show(StepInfo(step, 100_000, step))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "out: 2 of 100000, NFE 2, about 13:53:19 left"
    assert [line.split()[1] for line in lines] == ["2", "10", "30", "90"]


def test_the_time_left_does_not_count_what_an_earlier_run_did(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(console, "_force_terminal", False)
    with work_bar("slices") as show:
        show(90, 100, "")
        for done in (91, 92):
            now[0] += 10.0
            show(done, 100, "TV")
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "slices: 92 of 100, TV, about 0:01:20 left"


def test_a_short_run_and_a_refusal_print_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with sampling_bar("out") as show:
        show(StepInfo(1, 2, 1))
        show(StepInfo(2, 2, 2))
    with sampling_bar("out"):
        pass
    assert capsys.readouterr().err == ""

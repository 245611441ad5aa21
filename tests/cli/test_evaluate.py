"""``medscore evaluate``: complete and reproducible tables, and invalid configurations."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml

Command = Callable[..., Any]
Refused = Callable[..., str]
TABLES = ("table.csv", "slices.csv", "metrics.json")


@pytest.fixture
def config(prior: Path) -> dict[str, Any]:
    sampling = {"prior": str(prior), "samples": 2, "steps": 4, "precision": "float32"}
    return {
        "name": "tiny", "title": "Tiny", "ours": "ours", "metric": {"convention": "ct"},
        "cohort": {"modality": "CT", "data": ["scan.nii.gz"], "size": 32},
        "tasks": [
            {"name": "9 views", "scan": {"task": "sparse-ct", "views": 9}},
            {"name": "20 views", "scan": {"task": "sparse-ct", "views": 20}},
        ],
        "methods": [
            {"name": "FBP", "baseline": {"kind": "fbp"}},
            {"name": "TV", "baseline": {"kind": "fista-tv", "weight": 1e-3, "iterations": 20}},
            {"name": "ours", "prior": sampling},
        ],
        "plot": {"of": "views", "label": "views"}, "pictures": 1,
    }  # fmt: skip


@pytest.fixture
def evaluate(
    medscore: Command, config: dict[str, Any], scan: Path, tmp_path: Path
) -> Callable[..., Path]:
    """Evaluate the configuration into a folder; further arguments are options."""

    def call(name: str, *options: object) -> Path:
        (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config))
        args = [tmp_path / "tiny.yaml", "--data", scan.parent, "-o", tmp_path / name]
        result = medscore("evaluate", *args, "--processes", 1, *options)
        assert result.code == 0, result.err
        return tmp_path / name

    return call


def _tables(folder: Path) -> list[str]:
    return [(folder / name).read_text() for name in TABLES]


def _rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / "table.csv").read_text())))


def _stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "cells").glob("*.json")}


@pytest.mark.slow
def test_a_comparison_leaves_tables_plots_pictures_and_a_report(
    evaluate: Callable[..., Path],
) -> None:
    folder = evaluate("out")
    cells = [json.loads(path.read_text()) for path in (folder / "cells").glob("*.json")]
    assert {(c["method"], c["precision"]) for c in cells} == {
        ("FBP", ""), ("TV", ""), ("ours", "float32"),
    }  # fmt: skip
    found = {path.name for path in folder.iterdir()}
    assert found == {
        *TABLES, "report.md", "cells", "tiny-psnr.png", "tiny-ssim.png", "tiny-task1-slice1.png",
        "tiny-task2-slice1.png",
    }  # fmt: skip


@pytest.mark.slow
def test_every_row_has_its_numbers_and_its_card(evaluate: Callable[..., Path]) -> None:
    out = evaluate("out")
    rows = _rows(out)
    names = ["FBP", "TV", "ours", "ours, one sample"]
    assert [(r["task"], r["method"]) for r in rows] == [
        (task, name) for task in ("9 views", "20 views") for name in names
    ]
    assert {(r["method"], r["count"], r["nfe"]) for r in rows} == {
        ("FBP", "2", "0"), ("TV", "2", "0"), ("ours", "2", "5"), ("ours, one sample", "2", "5"),
    }  # fmt: skip
    cards = json.loads((out / "metrics.json").read_text())
    for row, card in zip(rows, cards, strict=True):
        assert (card["task"], card["method"]) == (row["task"], row["method"])
        assert float(row["psnr_mean"]) == pytest.approx(card["psnr"]["mean"], rel=1e-5)
        assert card["convention"].startswith("per slice, full image, -1000..1500 HU")


@pytest.mark.slow
def test_the_numbers_are_those_of_recon_with_a_reference(
    evaluate: Callable[..., Path], done: Command, scan: Path, tmp_path: Path, prior: Path
) -> None:
    rows = {(r["task"], r["method"]): r for r in _rows(evaluate("out"))}  # fmt: skip
    done("simulate", scan, "--views", 20, "-o", tmp_path / "m.h5")
    done("recon", tmp_path / "m.h5", "--prior", prior, "--samples", 2, "--steps", 4,
         "--reference", scan, "-o", tmp_path / "recon")  # fmt: skip
    metrics = json.loads((tmp_path / "recon" / "metrics.json").read_text())["rows"]
    by_name = {row["method"]: row for row in metrics}
    fbp = rows["20 views", "FBP"]
    assert float(fbp["psnr_mean"]) == pytest.approx(by_name["FBP"]["psnr"], abs=1e-3)
    assert float(fbp["ssim_mean"]) == pytest.approx(by_name["FBP"]["ssim"], abs=1e-4)


@pytest.mark.slow
def test_the_report_says_how_it_came_about(evaluate: Callable[..., Path]) -> None:
    text = (evaluate("out") / "report.md").read_text()
    for part in ("medscore evaluate tiny.yaml --data DATA", "2 slices of 1 patients", "torch",
                 "per slice, full image", "Where ours loses: "):  # fmt: skip
        assert part in text


@pytest.mark.slow
def test_a_second_run_computes_nothing_and_writes_the_same(evaluate: Callable[..., Path]) -> None:
    first, stamps = _tables(evaluate("out")), _stamps(evaluate("out"))
    assert _tables(evaluate("out")) == first
    assert _stamps(evaluate("out")) == stamps
    assert len(stamps) == 12


@pytest.mark.slow
def test_a_lost_cell_alone_is_found_again(evaluate: Callable[..., Path]) -> None:
    out = evaluate("out")
    first, stamps = _tables(out), _stamps(out)
    lost = sorted(stamps)[0]
    (out / "cells" / lost).unlink()
    assert _tables(evaluate("out")) == first
    changed = {name for name, stamp in _stamps(out).items() if stamp != stamps[name]}
    assert changed == {lost}


@pytest.mark.slow
def test_a_changed_parameter_concerns_its_own_cells_alone(
    evaluate: Callable[..., Path], config: dict[str, Any]
) -> None:
    before = _stamps(evaluate("out"))
    config["methods"][1]["at"] = {"20 views": {"weight": 1e-2}}
    after = _stamps(evaluate("out"))
    assert set(before) <= set(after)
    assert len(after) == len(before) + 2


@pytest.mark.process
def test_any_number_of_processes_makes_the_same_table(evaluate: Callable[..., Path]) -> None:
    assert _tables(evaluate("one")) == _tables(evaluate("two", "--processes", 2))


def test_one_method_alone(evaluate: Callable[..., Path]) -> None:
    rows = _rows(evaluate("out", "--method", "TV"))
    assert {row["method"] for row in rows} == {"TV"}


@pytest.mark.process
def test_a_killed_run_goes_on_and_ends_in_the_same_table(
    evaluate: Callable[..., Path], scan: Path, tmp_path: Path
) -> None:
    """The worker processes exit with the killed run."""
    whole = evaluate("whole")
    script = shutil.which("medscore", path=str(Path(sys.executable).parent))
    assert script
    command = [script, "evaluate", str(tmp_path / "tiny.yaml"), "--data", str(scan.parent),
               "-o", str(tmp_path / "killed"), "--processes", "2"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    cells = tmp_path / "killed" / "cells"
    for _ in range(6000):
        if len(list(cells.glob("*.json"))) >= 3:
            break
        time.sleep(0.02)
    children = _children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 3 <= len(_stamps(tmp_path / "killed")) < 12
    assert not (tmp_path / "killed" / "table.csv").exists()
    assert len(children) >= 2
    for _ in range(500):
        if not any(child.exists() for child in children):
            break
        time.sleep(0.02)
    assert [child for child in children if child.exists()] == []
    assert _tables(evaluate("killed")) == _tables(whole)


def _children(process: int) -> list[Path]:
    """The child processes of a process, as listed by Linux."""
    tasks = Path(f"/proc/{process}/task").glob("*/children")
    return [Path("/proc") / child for task in tasks for child in task.read_text().split()]


@pytest.mark.slow
def test_a_supervised_network_is_trained_once_and_compared(
    evaluate: Callable[..., Path], config: dict[str, Any], tmp_path: Path
) -> None:
    y, x = np.mgrid[-31.5:32, -31.5:32]
    slices = [np.where(np.hypot(x, y) < 10 + 5 * k, 40.0, -1000.0) for k in range(3)]
    (tmp_path / "data").mkdir()
    image = nib.Nifti1Image(np.float32(slices).transpose(2, 1, 0), np.diag([1.5, 1.5, 5, 1]))
    nib.save(image, tmp_path / "data" / "p1.nii.gz")
    recipe = {
        "name": "net", "modality": "CT", "quantity": "HU", "low": -1000, "high": 1500, "size": 32,
        "spacing_mm": 3.0, "scan": {"task": "sparse-ct", "views": 9}, "licence": "CC0",
        "data": [str(tmp_path / "data" / "*.nii.gz")],
        "model": {"kind": "post-processor",
                  "network": {"kind": "unet", "channels": [8, 8], "groups": 8}},
        "plan": {"steps": 3, "batch": 2, "save_every": 1},
    }  # fmt: skip
    (tmp_path / "net.yaml").write_text(yaml.safe_dump(recipe))
    config["methods"].append({"name": "U-Net", "supervised": str(tmp_path / "net.yaml")})
    out = evaluate("out", "--networks", tmp_path / "networks")
    rows = _rows(out)
    assert [r["task"] for r in rows if r["method"] == "U-Net"] == ["9 views", "20 views"]
    network = tmp_path / "networks" / "net" / "net.safetensors"
    stamp = network.stat().st_mtime_ns
    evaluate("out", "--networks", tmp_path / "networks")
    assert network.stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        (("methods", 0, "baseline", "kind"), "magic", "no baseline 'magic'"),
        (("methods", 1, "baseline", "weight"), -1, "weight"),
        (("methods", 2, "prior", "sampler"), "magic", "no sampler 'magic'"),
        (("methods", 2, "prior", "steps"), 0, "steps: Input should be greater than or equal to 1"),
        (("methods", 2, "prior", "prior"), "magic", "no prior 'magic'"),
        (("tasks", 0, "scan", "task"), "magic", "no task 'magic'"),
        (("tasks", 0, "scan", "task"), "mri", "task mri measures MR"),
        (("tasks", 0, "scan", "noise"), "magic", "`noise` is 'magic'"),
        (("metric", "convention"), "magic", "no convention 'magic'"),
        (("metric", "convention"), "fastmri", "compares volumes"),
        (("cohort", "data"), ["*.dcm"], "no file matches"),
        (("cohort", "size"), 64, "the slices are 32x32"),
        (("methods", 0, "baseline"), {"kind": "sirt", "iterations": 0}, "iterations"),
        (("methods", 0), {"name": "N", "supervised": "magic"}, "no such configuration"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_made(
    refused: Refused, config: dict[str, Any], scan: Path, tmp_path: Path,
    path: tuple[Any, ...], value: object, what: str,
) -> None:  # fmt: skip
    place: Any = config
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config))
    error = refused("evaluate", tmp_path / "tiny.yaml", "--data", scan.parent,
                    "-o", tmp_path / "out", "--processes", 1)  # fmt: skip
    assert what in error


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--processes", "--threads"])
def test_numbers_of_nothing_are_refused(refused: Refused, tmp_path: Path, option: str) -> None:
    assert f"{option} is 0" in refused("evaluate", "mri", "-o", tmp_path / "out", option, 0)


def test_an_unknown_method_is_refused(
    refused: Refused, config: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config))
    error = refused("evaluate", tmp_path / "tiny.yaml", "-o", tmp_path / "out", "--method", "X")
    assert "--method 'X'" in error
    assert "FBP, TV, ours" in error


@pytest.mark.process
def test_a_shipped_comparison_runs_by_its_name_without_a_data_folder(
    done: Command, tmp_path: Path
) -> None:
    """The images are part of pydicom."""
    done("evaluate", "bundled-ct", "-o", tmp_path / "out", "--processes", 1, "--method", "FBP")
    assert {(r["task"], r["count"]) for r in _rows(tmp_path / "out")} == {
        ("10 views", "2"), ("23 views", "2"), ("45 views", "2"),
    }  # fmt: skip

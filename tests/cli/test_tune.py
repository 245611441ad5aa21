"""``medscore tune``: stored trials, the best settings, and scores without references."""

import csv
import io
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from stacks import scan

from medscore.measurements.measurement import write_measurement

Command = Callable[..., Any]
Refused = Callable[..., str]


@pytest.fixture
def search() -> dict[str, Any]:
    return {
        "name": "weight", "trials": 4, "score": "psnr",
        "cohort": {"modality": "CT", "data": ["scan.nii.gz"], "size": 32},
        "task": {"name": "9 views", "scan": {"task": "sparse-ct", "views": 9}},
        "method": {"name": "TV", "baseline": {"kind": "fista-tv", "weight": 1, "iterations": 20}},
        "search": {"weight": {"low": 1e-5, "high": 1.0, "log": True}},
    }  # fmt: skip


@pytest.fixture
def tune(
    medscore: Command, search: dict[str, Any], scan: Path, tmp_path: Path
) -> Callable[..., list[dict[str, str]]]:
    """Search into a folder and return its trials; further arguments are options."""

    def call(name: str, *options: object) -> list[dict[str, str]]:
        (tmp_path / "search.yaml").write_text(yaml.safe_dump(search))
        args = [tmp_path / "search.yaml", "--data", scan.parent, "-o", tmp_path / name]
        result = medscore("tune", *args, *options)
        assert result.code == 0, result.err
        return list(csv.DictReader(io.StringIO((tmp_path / name / "trials.csv").read_text())))

    return call


Tune = Callable[..., list[dict[str, str]]]


def _best(folder: Path) -> dict[str, Any]:
    found = yaml.safe_load((folder / "best.yaml").read_text())
    assert isinstance(found, dict)
    return found


@pytest.mark.slow
def test_the_best_trial_is_written(tune: Tune, tmp_path: Path) -> None:
    trials = tune("out")
    assert len(trials) == 4
    top = max(trials, key=lambda t: float(t["psnr"]))
    assert _best(tmp_path / "out")["weight"] == pytest.approx(float(top["weight"]))
    assert _best(tmp_path / "out")["kind"] == "fista-tv"
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"study.db", "trials.csv", "best.yaml"}


@pytest.mark.slow
def test_a_search_goes_on_where_it_stopped(tune: Tune) -> None:
    first = tune("out", "--trials", 2)
    assert tune("out", "--trials", 5)[:2] == first
    assert len(tune("out", "--trials", 5)) == 5


@pytest.mark.slow
def test_a_search_repeats_with_its_seed(tune: Tune) -> None:
    assert tune("a") == tune("b")


@pytest.mark.slow
def test_all_combinations_of_values_are_tried(tune: Tune, search: dict[str, Any]) -> None:
    search["search"] = {"weight": {"values": [1e-4, 1e-3]}, "iterations": {"values": [5, 10, 20]}}
    search["trials"] = 100
    found = {(float(t["weight"]), int(t["iterations"])) for t in tune("out")}
    assert found == {(w, n) for w in (1e-4, 1e-3) for n in (5, 10, 20)}


@pytest.mark.process
@pytest.mark.parametrize("workers", [1, 2])
def test_a_combination_that_was_killed_is_tried_again(
    tune: Tune, search: dict[str, Any], tmp_path: Path, workers: int
) -> None:
    search["search"] = {"weight": {"values": [1e-4, 1e-3]}, "iterations": {"values": [5, 10]}}
    first = tune("out", "--trials", 3)
    assert len(first) == 3
    with sqlite3.connect(tmp_path / "out" / "study.db") as file:
        file.execute("UPDATE trials SET state = 'RUNNING' WHERE number = 1")
    file.close()
    found = tune("out", "--workers", workers)
    assert {(float(t["weight"]), int(t["iterations"])) for t in found} == {
        (w, n) for w in (1e-4, 1e-3) for n in (5, 10)
    }
    assert first[0] in found


@pytest.mark.process
def test_workers_share_the_trials(tune: Tune) -> None:
    assert len(tune("out", "--trials", 6, "--workers", 2)) == 6


@pytest.mark.slow
def test_a_trial_that_was_killed_is_finished_under_its_number(tune: Tune, tmp_path: Path) -> None:
    whole = tune("whole", "--trials", 3)
    tune("out", "--trials", 2)
    with sqlite3.connect(tmp_path / "out" / "study.db") as file:
        file.execute("UPDATE trials SET state = 'RUNNING' WHERE number = 1")
    file.close()
    assert tune("out", "--trials", 3) == whole


@pytest.mark.slow
def test_views_that_were_left_out_choose_without_a_reference(
    tune: Tune, search: dict[str, Any], measurement: Path, tmp_path: Path
) -> None:
    del search["cohort"], search["task"]
    search["search"] = {"weight": {"values": [1e-3, 1.0]}}
    trials = tune("out", "--measurement", measurement)
    assert {"held-out"} <= set(trials[0])
    assert _best(tmp_path / "out")["weight"] == 1e-3


@pytest.mark.slow
def test_stein_chooses_on_noisy_measurements(
    tune: Tune, search: dict[str, Any], noisy: Path, tmp_path: Path
) -> None:
    search["search"] = {"weight": {"values": [1e-3, 1.0]}}
    tune("out", "--measurement", noisy, "--score", "sure")
    assert _best(tmp_path / "out")["weight"] == 1e-3


@pytest.mark.slow
def test_the_strength_across_slices_is_chosen_by_held_out_views(
    done: Command, prior: Path, tmp_path: Path
) -> None:
    file = tmp_path / "m.h5"
    write_measurement(file, scan())
    shipped = Path(__file__).resolve().parents[2] / "configs/tune/volume.yaml"
    search = yaml.safe_load(shipped.read_text())
    search["method"]["prior"] |= {"steps": 3, "prior": str(prior), "precision": "float32"}
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(search))
    done("tune", tmp_path / "search.yaml", "--measurement", file, "-o", tmp_path / "out")
    best = _best(tmp_path / "out")
    assert best["across_slices"] == "tv"
    assert 0.05 <= best["set"]["across_slices.strength"] <= 0.3
    done("recon", file, "--preset", tmp_path / "out" / "best.yaml", "--prior", prior,
         "-o", tmp_path / "recon")  # fmt: skip


@pytest.mark.slow
def test_the_best_of_a_sampling_method_is_a_preset(
    tune: Tune, search: dict[str, Any], prior: Path, done: Command, noisy: Path, tmp_path: Path
) -> None:
    search["method"] = {"name": "PC", "prior": {
        "prior": str(prior), "sampler": "pc", "conditioner": "proximal", "grid": "uniform",
        "steps": 3, "samples": 1, "precision": "float32"}}  # fmt: skip
    search["search"] = {"snr": {"low": 0.1, "high": 0.5}, "lam": {"values": [0.5, 1.0]}}
    tune("out", "--trials", 2)
    best = _best(tmp_path / "out")
    assert set(best) == {"sampler", "conditioner", "grid", "steps", "set"}
    assert set(best["set"]) == {"sampler.snr", "conditioner.lam"}
    done("recon", noisy, "--preset", tmp_path / "out" / "best.yaml", "--prior", prior,
         "-o", tmp_path / "recon")  # fmt: skip


@pytest.mark.slow
def test_every_parameter_of_a_method_can_be_searched_and_fixed(
    tune: Tune, search: dict[str, Any], prior: Path, tmp_path: Path
) -> None:
    search["method"] = {"name": "ours", "prior": {
        "prior": str(prior), "steps": 3, "samples": 1, "precision": "float32"}}  # fmt: skip
    search["search"] = {"conditioner.zeta": {"values": [0.2, 0.9]}}
    rows = tune("out", "--set", "sampler.eta=0.5")
    assert {row["conditioner.zeta"] for row in rows} == {"0.2", "0.9"}
    assert len({row["psnr"] for row in rows}) == 2
    best = _best(tmp_path / "out")
    assert set(best["set"]) == {"conditioner.zeta", "sampler.eta"}
    others = tune("other", "--set", "sampler.eta=1")
    assert {row["psnr"] for row in others} != {row["psnr"] for row in rows}


@pytest.mark.slow
def test_settings_that_diverge_are_trials_without_a_score(
    tune: Tune, search: dict[str, Any], prior: Path, tmp_path: Path
) -> None:
    search["method"] = {"name": "PC", "prior": {
        "prior": str(prior), "sampler": "pc", "conditioner": "jalal", "grid": "uniform",
        "steps": 6, "samples": 1, "precision": "float32"}}  # fmt: skip
    search["search"] = {"snr": {"values": [0.1, 9.0]}}
    errors = {float(t["snr"]): t["error"] for t in tune("out")}
    assert errors[0.1] == ""
    assert "diverged" in errors[9.0]
    assert _best(tmp_path / "out")["set"] == {"sampler.snr": 0.1}


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        (("search",), {"magic": {"low": 0, "high": 1}}, "magic"),
        (("search", "weight"), {"low": 1, "high": 0}, "low < high"),
        (("search", "weight"), {"low": 0, "high": 1, "log": True}, "greater than 0"),
        (("search", "weight"), {"values": []}, "set one or more values"),
        (("method",), {"name": "N", "supervised": "ct-unet-23"}, "nothing to tune"),
        (("score",), "magic", "score"),
        (("score",), "sure", "SURE needs noisy"),
        (("cohort",), None, "cohort and task are missing"),
    ],
)
def test_a_search_that_cannot_be_is_refused(
    refused: Refused, search: dict[str, Any], scan: Path, tmp_path: Path,
    path: tuple[str, ...], value: object, what: str,
) -> None:  # fmt: skip
    place: Any = search
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(search))
    args = [tmp_path / "search.yaml", "--data", scan.parent, "-o", tmp_path / "out"]
    assert what in refused("tune", *args)


@pytest.mark.parametrize(
    ("options", "what"),
    [(("--trials", 0), "--trials is 0"), (("--workers", 0), "--workers is 0"),
     (("--score", "best"), "--score 'best'")],
    ids=["trials", "workers", "score"],
)  # fmt: skip
def test_options_that_cannot_be_are_refused(
    refused: Refused, search: dict[str, Any], tmp_path: Path, options: tuple[object, ...], what: str
) -> None:
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(search))
    assert what in refused("tune", tmp_path / "search.yaml", "-o", tmp_path / "out", *options)


def test_measurements_have_no_references(
    refused: Refused, search: dict[str, Any], measurement: Path, tmp_path: Path
) -> None:
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(search))
    error = refused("tune", tmp_path / "search.yaml", "--measurement", measurement,
                    "--score", "psnr", "-o", tmp_path / "out")  # fmt: skip
    assert "needs references" in error


@pytest.mark.slow
def test_a_folder_of_another_search_is_refused(
    tune: Tune, search: dict[str, Any], medscore: Command, scan: Path, tmp_path: Path
) -> None:
    tune("out", "--trials", 1)
    search["seed"] = 5
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(search))
    result = medscore("tune", tmp_path / "search.yaml", "--data", scan.parent,
                      "-o", tmp_path / "out")  # fmt: skip
    assert result.code == 2
    assert "a study of other settings" in result.err


def test_what_is_no_study_is_refused(
    search: dict[str, Any], medscore: Command, scan: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    shutil.copy(scan, tmp_path / "out" / "study.db")
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(search))
    result = medscore("tune", tmp_path / "search.yaml", "--data", scan.parent,
                      "-o", tmp_path / "out")  # fmt: skip
    assert result.code == 2
    assert "cannot be read as a study" in result.err


@pytest.mark.slow
def test_a_search_without_any_score_ends_with_one_line(
    medscore: Command, search: dict[str, Any], scan: Path, tmp_path: Path
) -> None:
    """Notes of the files were read before the trials; they are not shown."""
    search["search"]["weight"] = {"low": 1e300, "high": 1e301}
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(search))
    result = medscore(
        "tune", tmp_path / "search.yaml", "--data", scan.parent, "-o", tmp_path / "out",
        "--trials", 1,
    )  # fmt: skip
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert "no trial has a score" in result.err

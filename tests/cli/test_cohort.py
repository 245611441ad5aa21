"""``medscore recon`` of several measurements: each as if alone, a table, failures, resumption."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medscore.datasets.nifti import read_nifti
from medscore.reconstruction import cohort
from medscore.reconstruction.saving import reconstruct_file

Command = Callable[..., Any]
FBP = ("--baseline", "fbp")


def _table(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "summary.csv").open() as file:
        return {row["name"]: row for row in csv.DictReader(file)}


@pytest.fixture
def measurements(tmp_path: Path, measurement: Path) -> Path:
    """A folder with two equal measurements and one that is damaged."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("b", "a"):
        shutil.copy(measurement, folder / f"{name}.h5")
    (folder / "c.h5").write_bytes(measurement.read_bytes()[:2000])
    return folder


def test_a_failed_measurement_is_a_line_and_not_the_end(
    medscore: Command, measurements: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = medscore("recon", measurements, "-o", out, *FBP, "--processes", 1)
    assert result.code == 2
    (line,) = [text for text in result.err.splitlines() if text.startswith("error: ")]
    assert "1 of 3 measurements failed" in line
    table = _table(out)
    assert list(table) == ["a", "b", "c"]
    assert [row["result"] for row in table.values()] == ["ok", "ok", "failed"]
    assert "c.h5" in table["c"]["error"]
    assert {path.name for path in out.iterdir()} == {"a", "b", "summary.csv", "cohort.json"}


def test_each_result_is_that_of_the_measurement_alone(
    done: Command, medscore: Command, measurements: Path, tmp_path: Path
) -> None:
    medscore("recon", measurements, "-o", tmp_path / "out", *FBP, "--processes", 1)
    done("recon", measurements / "a.h5", "-o", tmp_path / "alone", *FBP)
    ours, alone = (read_nifti(tmp_path / p / "recon.nii.gz") for p in ("out/a", "alone"))
    assert (ours.values == alone.values).all()
    assert (ours.affine == alone.affine).all()


def test_a_repeated_command_keeps_what_is_finished_and_tries_failures_again(
    medscore: Command, done: Command, measurements: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    command = ("recon", measurements, "-o", tmp_path / "out", *FBP, "--processes", 1)
    medscore(*command)
    solved: list[str] = []

    def counted(path: Path, *args: Any, **options: Any) -> Any:
        solved.append(path.stem)
        return reconstruct_file(path, *args, **options)

    monkeypatch.setattr(cohort, "reconstruct_file", counted)
    before = _table(tmp_path / "out")
    shutil.copy(measurements / "a.h5", measurements / "c.h5")
    done(*command)
    assert solved == ["c"]
    after = _table(tmp_path / "out")
    assert after["c"]["result"] == "ok"
    assert {name: after[name] for name in "ab"} == {name: before[name] for name in "ab"}


def test_other_settings_do_not_mix(medscore: Command, measurements: Path, tmp_path: Path) -> None:
    (measurements / "c.h5").unlink()
    out = tmp_path / "out"
    assert medscore("recon", measurements, "-o", out, *FBP, "--processes", 1).code == 0
    result = medscore("recon", measurements, "-o", out, "--baseline", "adjoint")
    assert result.code == 2
    assert "other settings" in result.err


def test_a_measurement_that_changed_is_a_failure(
    medscore: Command, done: Command, measurements: Path, scan: Path, tmp_path: Path
) -> None:
    (measurements / "c.h5").unlink()
    command = ("recon", measurements, "-o", tmp_path / "out", *FBP, "--processes", 1)
    assert medscore(*command).code == 0
    (measurements / "a.h5").unlink()
    done("simulate", scan, "--views", 9, "-o", measurements / "a.h5")
    assert medscore(*command).code == 2
    assert "another measurement" in _table(tmp_path / "out")["a"]["error"]


def test_references_are_found_by_name(
    medscore: Command, measurements: Path, scan: Path, tmp_path: Path
) -> None:
    (measurements / "c.h5").unlink()
    truths = tmp_path / "truths"
    truths.mkdir()
    for name in "ab":
        shutil.copy(scan, truths / f"{name}.nii.gz")
    command = ("recon", measurements, "--reference", truths, *FBP, "--processes", 1)
    assert medscore(*command, "-o", tmp_path / "out").code == 0
    assert all(float(row["psnr"]) > 20 for row in _table(tmp_path / "out").values())
    (truths / "b.nii.gz").unlink()
    result = medscore(*command, "-o", tmp_path / "other")
    assert "no reference of 'b'" in result.err
    assert not (tmp_path / "other").exists()


def test_files_of_equal_names_are_called_by_their_folders(tmp_path: Path) -> None:
    for name in ("s1/x/m.h5", "s2/x/m.h5"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    assert [case.name for case in cohort.find_cases([tmp_path])] == ["s1-x-m", "s2-x-m"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--keep-identity", "x"), "cohort"), (("--steps", "0"), "steps"),
        (("--processes", "0"), "workers"), (("--series", "x"), "reference"),
        (("--reference", "{scan}"), "folder"),
    ],
)  # fmt: skip
def test_invalid_options_are_refused_before_anything_is_written(
    refused: Callable[..., str], measurements: Path, scan: Path, tmp_path: Path,
    options: tuple[str, ...], why: str,
) -> None:  # fmt: skip
    words = [scan if word == "{scan}" else word for word in options]
    assert why.replace("workers", "processes") in refused(
        "recon", measurements, "-o", tmp_path / "out", *words
    )


@pytest.mark.parametrize("option", ["--processes", "--threads", "--ray"])
def test_options_of_cohorts_do_not_apply_to_one_measurement(
    refused: Callable[..., str], measurement: Path, tmp_path: Path, option: str
) -> None:
    value = "local" if option == "--ray" else "2"
    assert "several measurements" in refused(
        "recon", measurement, "-o", tmp_path / "out", option, value
    )


def test_a_folder_without_measurements_is_refused(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    assert "no measurement" in refused("recon", tmp_path / "empty", "-o", tmp_path / "out")


@pytest.mark.process
def test_processes_give_the_same_table(
    medscore: Command, measurements: Path, tmp_path: Path
) -> None:
    for name, count in (("one", 1), ("two", 2)):
        medscore("recon", measurements, "-o", tmp_path / name, *FBP, "--processes", count)
    one, two = (_table(tmp_path / name) for name in ("one", "two"))
    for row in (*one.values(), *two.values()):
        row.pop("seconds")
    assert one == two

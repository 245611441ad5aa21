"""Options of all commands: replacing outputs, what is shown, the log file, shell completion."""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medscore.cli.manners import in_front
from medscore.errors import Interrupted, MedscoreError
from medscore.io.overwrite import MARKS, allow, aside, check_replaceable

Command = Callable[..., Any]
Refused = Callable[..., str]
STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "


def test_options_of_all_commands_may_stand_anywhere() -> None:
    words = ["recon", "m.h5", "--quiet", "-o", "x", "--log-file", "a b", "--memory=1GiB"]
    assert in_front(words) == [
        "--quiet", "--log-file", "a b", "--memory=1GiB", "recon", "m.h5", "-o", "x",
    ]  # fmt: skip
    assert in_front(["recon", "--", "--quiet"]) == ["recon", "--", "--quiet"]


@pytest.mark.parametrize("place", ["before", "after"])
def test_an_older_measurement_is_replaced_only_with_overwrite(
    done: Command, refused: Refused, scan: Path, tmp_path: Path, place: str
) -> None:
    args = ["simulate", scan, "-o", tmp_path / "m.h5", "--views"]
    done(*args, 5)
    old = (tmp_path / "m.h5").read_bytes()
    assert "set --overwrite" in refused(*args, 6)
    words = ["--overwrite", *args, 6] if place == "before" else [*args, 6, "--overwrite"]
    done(*words)
    assert (tmp_path / "m.h5").read_bytes() != old
    assert "set --overwrite" in refused(*args, 7)  # it holds for one run only
    assert [path.name for path in tmp_path.iterdir()] == ["m.h5"]


@pytest.mark.slow
def test_a_folder_of_results_is_replaced_when_the_new_one_is_complete(
    done: Command, medscore: Command, recon_args: list[object], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done(*recon_args, "-o", out)
    (out / "mine.txt").write_text("x")
    assert medscore(*recon_args, "-o", out, "--steps", 0, "--overwrite").code == 2
    assert (out / "mine.txt").exists()
    done(*recon_args, "-o", out, "--seed", 1, "--overwrite")
    assert not (out / "mine.txt").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def _foreign(path: Path) -> None:
    path.mkdir()
    (path / "thesis.tex").write_text("x")


def _link(path: Path) -> None:
    (path.parent / "real").mkdir()
    (path.parent / "real" / "provenance.json").write_text("{}")
    path.symlink_to(path.parent / "real")


@pytest.mark.parametrize("make", [_foreign, _link, lambda path: path.write_text("mine") and None])
def test_what_medscore_has_not_written_is_never_replaced(
    refused: Refused, recon_args: list[object], tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "out")
    assert "is not replaced" in refused(*recon_args, "-o", tmp_path / "out", "--overwrite")


def _codes(path: Path) -> None:
    np.savez_compressed(path, code=np.zeros(1), prior="x", sde="y", nfe=1)


def _demo(path: Path) -> None:
    (path / "case").mkdir(parents=True)
    (path / "case" / "provenance.json").write_text("{}")


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("codes.npz", _codes),
        ("demo", _demo),
        ("empty", lambda path: path.mkdir()),
        ("quality.json", lambda path: path.write_text('{"of": 1, "compared": 2}') and None),
        ("recipe.yaml", lambda path: path.write_text("# written by medscore train") and None),
    ],
)
def test_every_kind_of_output_can_be_replaced(
    tmp_path: Path, name: str, write: Callable[[Path], None]
) -> None:
    write(tmp_path / name)
    check_replaceable(tmp_path / name)


@pytest.mark.parametrize("mark", MARKS)
def test_a_folder_with_results_can_be_replaced_and_the_working_folder_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: str
) -> None:
    (tmp_path / "out" / "deep").mkdir(parents=True)
    (tmp_path / "out" / mark).write_text("")
    check_replaceable(tmp_path / "out")
    for here in ("out", "out/deep"):
        monkeypatch.chdir(tmp_path / here)
        with pytest.raises(MedscoreError, match="working folder"):
            check_replaceable(tmp_path / "out")


@pytest.mark.parametrize(
    ("error", "left"), [(MedscoreError("x"), "old"), (Interrupted(), "new"), (None, "new")]
)
def test_a_failed_run_brings_the_older_folder_back(
    tmp_path: Path, error: BaseException | None, left: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "study.db").write_text("old")
    allow(True)
    try:
        with suppress(MedscoreError, Interrupted), aside(out):
            assert not out.exists()
            out.mkdir()
            (out / "study.db").write_text("new")
            if error is not None:
                raise error
        assert (out / "study.db").read_text() == left
        kept = tmp_path / ".part-old-out"
        assert kept.exists() == isinstance(error, Interrupted)
        if kept.exists():  # the same call resumes
            with aside(out):
                assert (out / "study.db").read_text() == "new"
            assert not kept.exists()
    finally:
        allow(False)


def test_the_input_is_not_replaced(refused: Refused, scan: Path) -> None:
    assert "is not replaced" in refused("simulate", scan, "-o", scan, "--overwrite")


@pytest.mark.slow
def test_a_search_is_begun_anew_with_overwrite(
    done: Command, medscore: Command, scan: Path, tmp_path: Path
) -> None:
    search = (
        "{name: tiny, cohort: {modality: CT, data: [scan.nii.gz], size: 32}, score: psnr, "
        "task: {name: a, scan: {task: sparse-ct, views: 5}}, search: {weight: {values: [%s]}}, "
        "method: {name: TV, baseline: {kind: fista-tv, iterations: 2}}}"
    )
    args = ["tune", tmp_path / "s.yaml", "--data", scan.parent, "-o", tmp_path / "out"]
    (tmp_path / "s.yaml").write_text(search % "1.0e-4")
    done(*args)
    (tmp_path / "s.yaml").write_text(search % "1.0e-3")
    assert medscore(*args).code == 2
    done(*args, "--overwrite")
    assert "0.001" in (tmp_path / "out" / "trials.csv").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "s.yaml"]


def test_quiet_shows_results_and_errors_only(
    done: Command, medscore: Command, scan: Path, tmp_path: Path
) -> None:
    args = ["simulate", scan, "--views", 5, "-o", tmp_path / "m.h5"]
    result = done(*args, "--quiet")
    assert (result.out, result.err) == ("", "")
    assert medscore(*args, "-q").err.startswith("error: ")
    assert done("methods", "-q").out == done("methods").out != ""


def test_verbose_shows_what_was_read_with_times(done: Command, scan: Path, tmp_path: Path) -> None:
    args = ["simulate", scan, "--views", 5]
    said = done(*args, "-o", tmp_path / "m.h5", "--verbose").err
    assert re.search(r"^\d\d:\d\d:\d\d info medscore\.datasets\.load: .*scan\.nii\.gz", said, re.M)
    assert re.search(r"^\d\d:\d\d:\d\d info medscore\.cli\.manners: finished in", said, re.M)
    assert "info" not in done(*args, "-o", tmp_path / "n.h5").err


def test_the_log_file_keeps_what_is_shown_with_times(
    done: Command, medscore: Command, scan: Path, tmp_path: Path
) -> None:
    args = ["simulate", scan, "--views", 5, "-o", tmp_path / "m.h5", "--log-file", tmp_path / "log"]
    shown = done(*args).err
    refusal = medscore(*args).err
    listed = done("methods", "--log-file", tmp_path / "log").out
    lines = (tmp_path / "log").read_text().splitlines()
    assert all(re.match(STAMP, line) for line in lines)
    text = [re.sub(STAMP, "", line, count=1) for line in lines]
    assert "".join(shown.split()) in "".join("".join(text).split())
    assert refusal.strip() in text
    assert [line for line in listed.splitlines() if line] == [
        line for line in text[-len(listed.splitlines()) :] if line
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--quiet", "--verbose"], "exclude each other"),
        (["--log-file", "no/x"], "cannot be written"),
    ],
)
def test_manners_that_cannot_be_are_refused(
    refused: Refused, scan: Path, tmp_path: Path, options: list[str], said: str
) -> None:
    assert said in refused("simulate", scan, "-o", tmp_path / "m.h5", *options)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("recon --sampler d", {"ddim", "dpm-solver-1"}),
        ("recon --conditioner d", {"dps", "diffpir", "daps"}),
        ("recon --prior ", {"ct-128", "mri-128"}),
        ("recon --preset ", {"fast", "thesis"}),
        ("simulate --task m", {"mri", "mar"}),
        ("train ct", {"ct-128", "ct-unet-23"}),
        ("evaluate s", {"sparse-ct"}),
        ("rec", {"recon"}),
    ],
)
def test_the_shell_completes_names(
    medscore: Command, monkeypatch: pytest.MonkeyPatch, words: str, expected: set[str]
) -> None:
    monkeypatch.setenv("_MEDSCORE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"medscore {words}")
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" "))))
    assert expected <= set(medscore().out.split())

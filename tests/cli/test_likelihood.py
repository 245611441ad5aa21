"""``medscore likelihood``: one line per slice, and statistics of typical images."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medscore.io.opening import file_sha256
from medscore.likelihood import report as module
from medscore.likelihood.typicality import beside
from medscore.priors.checkpoint import read_checkpoint

Refused = Callable[..., str]
Done = Callable[..., Any]
FAST = ("--rtol", 1e-2, "--atol", 1e-2, "--device", "cpu")


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "likelihood.csv").read_text().splitlines()))


@pytest.fixture
def run(done: Done, scan: Path, prior: Path, tmp_path: Path) -> Callable[..., list[dict[str, str]]]:
    """Run the command on two slices and return its rows."""

    def call(name: str, *args: object) -> list[dict[str, str]]:
        done("likelihood", scan, "--prior", prior, "-o", tmp_path / name, *FAST, *args)
        return rows(tmp_path / name)

    return call


def test_every_slice_has_a_line(
    run: Callable[..., list[dict[str, str]]], scan: Path, tmp_path: Path
) -> None:
    found = run("a", "--divergence", "gaussian", "--probes", 2, "--keep-identity")
    assert [row["file"] for row in found] == ["scan.nii.gz#0", "scan.nii.gz#1"]
    sha256 = file_sha256(scan)[:12]
    assert [row["image"] for row in found] == [f"{sha256}#0", f"{sha256}#1"]
    assert {(row["patient"], row["name"]) for row in found} == {(sha256, "scan")}
    for row in found:
        assert math.isfinite(float(row["nats_per_dim"]))
        assert float(row["standard_error"]) > 0
        assert int(row["nfe"]) > 6
        assert row["bits_per_dim"] == row["z"] == ""
    said = json.loads((tmp_path / "a" / "likelihood.json").read_text())
    assert said["method"] == "flow"
    assert said["prior"]["name"] == "tiny"


@pytest.mark.slow
def test_the_same_command_has_the_same_numbers(run: Callable[..., list[dict[str, str]]]) -> None:
    gauss = ("--divergence", "gaussian")
    assert run("a", *gauss) == run("b", *gauss)
    assert run("c", *gauss, "--seed", 1) != run("d", *gauss)


@pytest.mark.parametrize("method", ["flow", "clean-bound"])
def test_bits_are_nats_and_the_width_of_the_levels(
    run: Callable[..., list[dict[str, str]]], method: str
) -> None:
    for row in run(method, "--method", method, "--bits", 12, "--draws", 4):
        expected = 12 - float(row["nats_per_dim"]) / math.log(2)
        assert float(row["bits_per_dim"]) == pytest.approx(expected, abs=1e-3)


def test_the_library_returns_what_the_command_writes(
    run: Callable[..., list[dict[str, str]]], scan: Path, prior: Path, tmp_path: Path
) -> None:
    found = run("a", "--method", "clean-bound", "--bits", 12, "--draws", 4)
    done: list[int] = []
    result = module.assess_images(
        str(scan), str(prior), method="clean-bound", bits=12, draws=4, rtol=1e-2, atol=1e-2,
        device="cpu", on_step=lambda info: done.append(info.done),
    )  # fmt: skip
    assert [f"{image.nats_per_dim:.6g}" for image in result.images] == [
        row["nats_per_dim"] for row in found
    ]
    mean = np.mean([float(row["bits_per_dim"]) for row in found])
    assert result.bits_per_dim == pytest.approx(mean, rel=1e-4)
    assert result.z is result.warning is result.typical is None
    said = json.loads((tmp_path / "a" / "likelihood.json").read_text())
    assert {**result.provenance, "seconds": said["seconds"]} == said
    assert done == [1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.slow
def test_a_slice_does_not_depend_on_its_neighbours(
    run: Callable[..., list[dict[str, str]]],
) -> None:
    both, one = run("both"), run("one", "--limit", 1)
    assert one == both[:1]


@pytest.mark.slow
def test_an_interrupted_run_goes_on_slice_by_slice(
    run: Callable[..., list[dict[str, str]]], medscore: Done, scan: Path, prior: Path,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    whole, real, seen = run("whole"), module.assess_image, []

    def once(*args: Any) -> Any:
        seen.append(args)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(module, "assess_image", once)
    args = ["likelihood", scan, "--prior", prior, "-o", tmp_path / "out", *FAST]
    assert medscore(*args).code == 130
    assert not (tmp_path / "out").exists()
    other = medscore(*args, "--seed", 1)
    assert other.code == 2
    assert "another run" in " ".join(other.err.split())
    monkeypatch.setattr(module, "assess_image", real)
    assert run("out") == whole
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "whole"]
    (tmp_path / ".broken.resume").write_text("{}")
    broken = medscore(*args[:4], "-o", tmp_path / "broken", *FAST)
    assert broken.code == 2
    assert "cannot be read as the saved state of an interrupted run" in " ".join(broken.err.split())


def test_typical_images_are_kept_beside_the_prior(
    done: Done, medscore: Done, scan: Path, make_prior: Callable[..., Path], tmp_path: Path
) -> None:
    own = make_prior(tmp_path / "own.safetensors")
    args = ["likelihood", scan, "--prior", own, "--method", "bound", "--draws", 2]
    done(*args, "-o", tmp_path / "typical", "--typical")
    said = json.loads(beside(own).read_text())
    assert said["count"] == 2
    again = medscore(*args, "-o", tmp_path / "again", "--typical")
    assert again.code == 2
    assert "own.typical.json" in again.err
    done(*args, "-o", tmp_path / "judged")
    z = [float(row["z"]) for row in rows(tmp_path / "judged")]
    assert np.mean(z) == pytest.approx(0, abs=1e-3)
    assert np.std(z, ddof=1) == pytest.approx(1, abs=0.01)


@pytest.mark.slow
def test_recon_warns_of_unusual_images_and_records_z(
    done: Done, noisy: Path, make_prior: Callable[..., Path], tmp_path: Path
) -> None:
    own = make_prior(tmp_path / "own.safetensors")
    args = ["recon", noisy, "--prior", own, "--steps", 2, "--device", "cpu"]
    assert "unlike" not in done(*args, "-o", tmp_path / "without").err
    sha = read_checkpoint(own).sha256
    for mean, said in ((0.0, False), (-1e3, True)):
        content = {"prior": sha, "mean": mean, "deviation": 100.0, "count": 9}
        beside(own).write_text(json.dumps(content))
        result = done(*args, "-o", tmp_path / f"{mean:g}")
        assert ("2 of 2 slice(s) are unlike" in " ".join(result.err.split())) == said
        z = json.loads((tmp_path / f"{mean:g}" / "provenance.json").read_text())["z"]
        assert len(z) == 2
        assert all((abs(value) > 4) == said for value in z)


def test_what_is_typical_of_other_weights_is_refused(
    refused: Refused, scan: Path, make_prior: Callable[..., Path], tmp_path: Path
) -> None:
    own = make_prior(tmp_path / "own.safetensors")
    content = {"prior": "0" * 64, "mean": 0.0, "deviation": 1.0, "count": 2}
    beside(own).write_text(json.dumps(content))
    message = refused("likelihood", scan, "--prior", own, "-o", tmp_path / "out")
    assert "other weights" in message
    beside(own).write_text("{")
    assert "JSON" in refused("likelihood", scan, "--prior", own, "-o", tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--method", "magic"), "--method is 'magic'"),
        (("--divergence", "magic"), "--divergence is 'magic'"),
        (("--probes", 0), "--probes is 0"),
        (("--draws", 0), "--draws is 0"),
        (("--bits", 0), "--bits is 0"),
        (("--bits", 17), "--bits is 17"),
        (("--rtol", 0), "--rtol is 0"),
        (("--limit", 0), "--limit is 0"),
        (("--typical", "--limit", 1), "--typical: 1 images do not determine"),
        (("--spacing-mm", -1), "--spacing-mm is -1"),
        (("--bits", 8), "--method bound bounds the likelihood of the noisy image"),
    ],
    ids=lambda v: v if isinstance(v, str) else "-".join(map(str, v)),
)
def test_refuses(
    refused: Refused, scan: Path, prior: Path, tmp_path: Path, options: tuple[object, ...], why: str
) -> None:
    args = ["likelihood", scan, "--prior", prior, "-o", tmp_path / "out", "--method", "bound"]
    assert why in refused(*args, "--draws", 2, *options)


def test_pixels_of_another_size_are_fitted_and_said(
    done: Callable[..., Any], scan: Path, make_prior: Callable[..., Path], tmp_path: Path
) -> None:
    fine = make_prior(tmp_path / "fine.safetensors", spacing_mm=(0.5, 1.5))
    args = "likelihood", scan, "--prior", fine, "--method", "bound", "--draws", 2
    said = " ".join(done(*args, "-o", tmp_path / "out").err.split())
    assert "32 x 32 pixels of 3 mm are fitted to those of prior tiny" in said
    assert "75.0 % of the pixels lie outside its field" in said
    assert json.loads((tmp_path / "out" / "likelihood.json").read_text())["notes"]
    said = " ".join(done(*args, "--allow-mismatch", "-o", tmp_path / "own").err.split())
    assert "32 x 32 pixels of 3 mm are outside the domain of prior tiny" in said


def test_refuses_images_of_another_modality(
    refused: Refused, mr_scan: Path, prior: Path, tmp_path: Path
) -> None:
    refused("likelihood", mr_scan, "--prior", prior, "-o", tmp_path / "out")


def test_refuses_to_write_over_a_folder(
    refused: Refused, scan: Path, prior: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    assert "exists" in refused("likelihood", scan, "--prior", prior, "-o", tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [-1e6, 1e6])
def test_tests_of_the_prior_warn_and_are_recorded(
    done: Done, scan: Path, make_prior: Callable[..., Path], tmp_path: Path, threshold: float
) -> None:
    own = make_prior(tmp_path / "own.safetensors")
    test = {
        "kind": "residual", "centre": [0.0] * 32, "scale": [1.0] * 32, "matrix": [[1.0] * 32],
        "mean": 0.0, "between": 1.0, "within": 1.0, "threshold": threshold, "level": 0.05,
        "patients": 10, "slices": 20,
    }  # fmt: skip
    sha256 = read_checkpoint(own).sha256
    content = {"prior": sha256, "mean": 0.0, "deviation": 1e9, "count": 2, "tests": [test]}
    beside(own).write_text(json.dumps(content))
    done("simulate", scan, "--task", "sparse-ct", "--views", 60, "-o", tmp_path / "m.h5")
    args = ["--prior", own, "--steps", 2, "--device", "cpu", "-o", tmp_path / "out"]
    said = [done("recon", tmp_path / "m.h5", *args).err]
    found = json.loads((tmp_path / "out" / "provenance.json").read_text())["typicality"]
    args = ["--prior", own, "--method", "bound", "--draws", 2, "-o", tmp_path / "judged"]
    said.append(done("likelihood", scan, *args).err)
    (judged,) = json.loads((tmp_path / "judged/likelihood.json").read_text())["typicality"].values()
    for judgements in (found, judged):
        assert [j["test"] for j in judgements] == ["residual"]
        assert judgements[0]["unusual"] == (threshold < 0)
        assert len(judgements[0]["slices"]) == 2
    for text in said:
        assert ("unlike the prior's training images" in " ".join(text.split())) == (threshold < 0)

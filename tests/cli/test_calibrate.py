"""``medscore calibrate``, and the intervals and regions of ``medscore recon``."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml
from PIL import Image

import medscore as ms
from medscore.datasets.nifti import read_nifti
from medscore.reconstruction.difference import difference
from medscore.reconstruction.preview import TITLE
from medscore.uncertainty.intervals import student_multiple

Command = Callable[..., Any]
Refused = Callable[..., str]
SAMPLING = ("--steps", 4, "--samples", 3, "--precision", "float32", "--device", "cpu")


def config_of(prior: Path, **changes: Any) -> dict[str, Any]:
    sampling = {"prior": str(prior), "samples": 3, "steps": 4, "precision": "float32"}
    return {
        "name": "tiny", "title": "Tiny", "ours": "ours", "metric": {"convention": "ct"},
        "cohort": {"modality": "CT", "data": ["scan.nii.gz"], "size": 32},
        "tasks": [
            {"name": "few", "scan": {"task": "sparse-ct", "views": 9, "noise": "gaussian:0.02"}},
            {"name": "many", "scan": {"task": "sparse-ct", "views": 20, "noise": "gaussian:0.02"}},
        ],
        "methods": [
            {"name": "FBP", "baseline": {"kind": "fbp"}},
            {"name": "ours", "prior": sampling | changes},
        ],
    }  # fmt: skip


@pytest.fixture(scope="module")
def calibrated(
    done: Command, prior: Path, scan: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a calibration of two families on the two slices of ``scan``."""
    folder = tmp_path_factory.mktemp("calibration")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(config_of(prior)))
    out = folder / "out"
    args = ("--data", scan.parent, "-o", out, "--processes", 1)
    assert "few: 1 patient(s), 2 slice(s)" in done("calibrate", folder / "tiny.yaml", *args).err
    return out


@pytest.fixture(scope="module")
def table(calibrated: Path) -> Path:
    return calibrated / "tiny.calibration.json"


def interval_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "provenance.json").read_text())["interval"]
    return found


@pytest.mark.slow
def test_a_calibration_resumes_without_computing_a_cell_again(
    done: Command, calibrated: Path, table: Path, scan: Path
) -> None:
    cells = sorted((calibrated / "cells").iterdir())
    stamps, content = [path.stat().st_mtime_ns for path in cells], table.read_bytes()
    cells[0].unlink()
    config = calibrated.parent / "tiny.yaml"
    done("calibrate", config, "--data", scan.parent, "-o", calibrated, "--processes", 1)
    assert len(cells) == 4
    assert [path.stat().st_mtime_ns for path in cells[1:]] == stamps[1:]
    assert table.read_bytes() == content


@pytest.mark.slow
def test_the_interval_holds_the_share_of_the_calibrated_patient_that_it_says(
    done: Command, noisy: Path, scan: Path, prior: Path, table: Path, tmp_path: Path
) -> None:
    """The measurement differs from that of the calibration in its noise alone."""
    args = ("recon", noisy, "--prior", prior, *SAMPLING, "--reference", scan)
    plain, out = tmp_path / "plain", tmp_path / "out"
    assert "the prior has no calibration table" in " ".join(done(*args, "-o", plain).err.split())
    done(*args, "--calibration", table, "-o", out)
    found = interval_of(out)
    assert (found["calibrated"], found["family"], found["samples"]) == (True, "few", 3)
    assert found["table"]["patients"] == [p["name"] for p in families(table)[0]["patients"]]
    metrics = json.loads((out / "metrics.json").read_text())["interval"]
    assert 0.8 < metrics["inside"] <= 0.97
    uncalibrated = interval_of(plain)
    assert (uncalibrated["calibrated"], uncalibrated["factor"]) == (False, 1.0)
    assert uncalibrated["multiple"] == pytest.approx(student_multiple(0.9, 3), abs=1e-5)
    ends, mean, std = ends_of(out)
    half = (ends[1] - ends[0]) / 2
    np.testing.assert_allclose(ends[0] + half, mean, rtol=1e-4, atol=0.1)
    assert np.corrcoef(half.ravel(), std.ravel())[0, 1] > 0.8
    ends, mean, std = ends_of(plain)
    half = uncalibrated["multiple"] * std * (4 / 3) ** 0.5
    np.testing.assert_allclose(ends, [mean - half, mean + half], rtol=1e-4, atol=0.1)
    header = nib.load(out / "interval.nii.gz").header
    assert bytes(header["descrip"]).rstrip(b"\0").startswith(b"90 % interval, factor")
    assert bytes(header["descrip"]).rstrip(b"\0").endswith(b"calibrated on few")


def families(table: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(table.read_text())["families"]
    return found


def ends_of(folder: Path) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    ends = [read_nifti(folder / "interval.nii.gz", channel=k).values for k in (0, 1)]
    return ends, *(read_nifti(folder / f"{name}.nii.gz").values for name in ("recon", "std"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scanned", "options", "reason"),
    [
        ("noisy", ("--steps", 5), "steps 5, not 4"),
        ("measurement", (), "0 noise relative to the data"),
    ],
)
def test_another_method_or_measurement_is_uncalibrated(
    done: Command, request: pytest.FixtureRequest, prior: Path, table: Path, tmp_path: Path,
    scanned: str, options: tuple[object, ...], reason: str,
) -> None:  # fmt: skip
    m = request.getfixturevalue(scanned)
    args = ("recon", m, "--prior", prior, *SAMPLING, "--calibration", table)
    done(*args, *options, "-o", tmp_path / "out")
    found = interval_of(tmp_path / "out")
    assert (found["calibrated"], found["factor"]) == (False, 1.0)
    assert reason in found["reason"]
    header = nib.load(tmp_path / "out" / "interval.nii.gz").header
    assert bytes(header["descrip"]).rstrip(b"\0").endswith(b"uncalibrated")


@pytest.mark.slow
def test_a_table_beside_the_prior_is_used_by_itself(
    noisy: Path, prior: Path, table: Path, tmp_path: Path
) -> None:
    own = shutil.copy(prior, tmp_path / "own.safetensors")
    shutil.copy(table, tmp_path / "own.calibration.json")
    settings: dict[str, Any] = {"samples": 3, "steps": 4, "precision": "float32"}
    found = ms.reconstruct(noisy, own, **settings)
    assert found.width(0.8).calibrated
    low, high = found.interval(0.8)
    assert (low <= found.mean).all()
    assert (found.mean <= high).all()
    assert not ms.reconstruct(noisy, prior, **settings).width(0.8).calibrated
    assert "up to the level" in found.width(0.9999).reason


def labels(scan: Path, path: Path, **places: int) -> Path:
    """A label image on the grid of ``scan``, with square regions of the given labels."""
    image = nib.load(scan)
    values = np.zeros(image.shape, dtype=np.uint8)
    for number, label in enumerate(places.values()):
        values[10 + 4 * number : 13 + 4 * number, 10:15] = label
    nib.save(nib.Nifti1Image(values, image.affine), path)
    return path


@pytest.mark.slow
def test_regions_are_stated_with_their_intervals(
    done: Command, noisy: Path, scan: Path, prior: Path, tmp_path: Path
) -> None:
    out, mask = tmp_path / "out", labels(scan, tmp_path / "mask.nii.gz", first=1, second=4)
    args = ("recon", noisy, "--prior", prior, *SAMPLING, "--roi", mask, "--roi-above", 100)
    said = " ".join(done(*args, "-o", out).err.split())
    found = json.loads((out / "roi.json").read_text())
    assert [region["label"] for region in found["regions"]] == [1, 4]
    assert (found["unit"], found["level"], found["calibrated"]) == ("HU", 0.9, False)
    assert "region 4:" in said
    first = found["regions"][0]
    recon, marked = read_nifti(out / "recon.nii.gz").values, read_nifti(mask).values == 1
    assert first["mean"] == pytest.approx(float(recon[marked].mean()), abs=0.1)
    assert (first["pixels"], first["volume_ml"]) == (30, pytest.approx(30 * 45 / 1000))
    assert (out / "roi.csv").read_text().splitlines()[0].startswith("label,pixels,volume_ml,mean")
    result = ms.reconstruct(noisy, prior, samples=3, steps=4, precision="float32")
    region = result.region(marked)
    assert region.mean.low == pytest.approx(first["low"], abs=0.1)
    assert [each.label for each in result.regions(mask)] == [1, 4]


def changed(table: Path, path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    content = json.loads(table.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def _set(**values: object) -> Callable[[dict[str, Any]], object]:
    return lambda content: content.update(values)


def _ratios(values: list[float]) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["families"][0]["patients"][0].update(ratios=values)


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another prior": (_set(prior_sha256="0" * 64), "of other weights than the prior's"),
    "a key too many": (_set(extra=1), "there is no such key"),
    "another format": (_set(format="medscore-calibration-0"), "format"),
    "no family": (_set(families=[]), "families"),
    "NaN": (_ratios([float("nan")] * 100), "NaN"),
    "too few quantiles": (_ratios([1.0]), "ratios are no 100 increasing values"),
    "falling quantiles": (_ratios([*range(100, 0, -1)]), "ratios are no 100 increasing values"),
    "an unknown rule": (_set(rule="any"), "rule"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_table_is_refused_before_work_begins(
    refused: Refused, noisy: Path, prior: Path, table: Path, tmp_path: Path, fault: str
) -> None:
    change, message = BROKEN[fault]
    path = changed(table, tmp_path / "t.json", change)
    args = ("recon", noisy, "--prior", prior, *SAMPLING, "--calibration", path)
    assert message in refused(*args, "-o", tmp_path / "out")
    own = shutil.copy(prior, tmp_path / "own.safetensors")
    shutil.copy(path, tmp_path / "own.calibration.json")
    beside = ("recon", noisy, "--prior", own, *SAMPLING)
    assert message in refused(*beside, "-o", tmp_path / "out")


def test_error_bars_of_one_sample_are_refused(
    refused: Refused, recon_args: list[object], scan: Path, tmp_path: Path
) -> None:
    mask = labels(scan, tmp_path / "mask.nii.gz", one=1)
    for option in (("--interval", 0.9), ("--roi", mask), ("--calibration", mask)):
        message = refused(*recon_args, *option, "-o", tmp_path / "out")
        assert f"{option[0]}: error bars need two --samples or more, not 1" in message


@pytest.mark.parametrize("level", [0, 1, -1, 90, "nan", "inf"])
def test_a_level_outside_0_to_1_is_refused(
    refused: Refused, recon_args: list[object], tmp_path: Path, level: object
) -> None:
    args = (*recon_args, "--samples", 2, f"--interval={level}", "-o", tmp_path / "out")
    assert "--interval is" in refused(*args)


def _mask(values: object) -> Callable[[Path, Path], Path]:
    def write(scan: Path, path: Path) -> Path:
        image = nib.load(scan)
        array = np.zeros(image.shape, dtype=np.float32)
        array[3:6, 3:6] = values
        nib.save(nib.Nifti1Image(array, image.affine), path)
        return path

    return write


def _moved(scan: Path, path: Path) -> Path:
    image = nib.load(scan)
    array = np.zeros(image.shape, dtype=np.uint8)
    array[3:6, 3:6] = 1
    nib.save(nib.Nifti1Image(array, image.affine @ np.diag([1.1, 1.1, 1, 1])), path)
    return path


def _larger(scan: Path, path: Path) -> Path:
    image = nib.load(scan)
    array = np.zeros((40, 40, image.shape[2]), dtype=np.uint8)
    array[3:6, 3:6] = 1
    nib.save(nib.Nifti1Image(array, image.affine), path)
    return path


def _text(scan: Path, path: Path) -> Path:
    path.write_text("no image")
    return path


def _missing(scan: Path, path: Path) -> Path:
    return path


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (_missing, "no such file"),
        (_text, "NIfTI"),
        (_mask(0.5), "holds the value 0.5"),
        (_mask(-1), "holds the value -1"),
        (_mask(np.nan), "NaN"),
        (_mask(0), "constant"),
        (_moved, "does not lie on the grid of the reconstruction"),
        (_larger, "on the grid of the reconstruction"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(
    refused: Refused, recon_args: list[object], scan: Path, tmp_path: Path,
    write: Callable[[Path, Path], Path], message: str,
) -> None:  # fmt: skip
    mask = write(scan, tmp_path / "mask.nii.gz")
    args = (*recon_args, "--samples", 2, "--roi", mask, "-o", tmp_path / "out")
    assert message in refused(*args)


def test_options_of_regions_are_refused_without_their_regions(
    refused: Refused, recon_args: list[object], noisy: Path, scan: Path, tmp_path: Path
) -> None:
    args = (*recon_args, "--samples", 2, "-o", tmp_path / "out")
    assert "--roi-above is 3" in refused(*args, "--roi-above", 3)
    mask = labels(scan, tmp_path / "mask.nii.gz", one=1)
    assert "--roi-above is nan" in refused(*args, "--roi-above", "nan", "--roi", mask)
    cohort = ["recon", noisy, noisy.parent / "meas.h5", *recon_args[2:]]
    message = refused(*cohort, "--samples", 2, "--roi", mask, "-o", tmp_path / "out")
    assert "--roi is the mask of one measurement" in message


@pytest.mark.parametrize(
    ("options", "changes", "message"),
    [
        (("--rule", "best"), {}, "--rule is 'best'"),
        (("--confidence", 1), {}, "--confidence is 1"),
        (("--confidence", "nan"), {}, "--confidence is nan"),
        (("--method", "FBP"), {}, "does not sample with a prior"),
        (("--method", "none"), {}, "does not sample with a prior"),
        (("--processes", 0), {}, "--processes is 0"),
        ((), {"samples": 1}, "draws 1 sample"),
        ((), {"steps": 0}, "steps"),
    ],
)
def test_a_calibration_refuses_bad_input(
    refused: Refused, prior: Path, scan: Path, tmp_path: Path, options: tuple[object, ...],
    changes: dict[str, Any], message: str,
) -> None:  # fmt: skip
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config_of(prior, **changes)))
    args = ("calibrate", tmp_path / "tiny.yaml", "--data", scan.parent, "-o", tmp_path / "out")
    assert message in refused(*args, *options)


@pytest.mark.slow
def test_the_influence_of_the_data_is_written_when_asked(
    done: Command, noisy: Path, prior: Path, tmp_path: Path
) -> None:
    args = ("recon", noisy, "--prior", prior, *SAMPLING)
    said = " ".join(done(*args, "--influence", "-o", tmp_path / "with").err.split())
    assert "structure that the data do not determine" in said
    values = read_nifti(tmp_path / "with" / "influence.nii.gz").values
    assert values.shape == (2, 32, 32)
    assert values.min() >= 0
    assert values.max() <= 1
    record = json.loads((tmp_path / "with" / "provenance.json").read_text())["evidence"]
    assert 0 < record["undetermined"] <= 1
    assert 0 <= record["disagreement"] <= 1
    assert len(record["slices"]) == 2
    path = tmp_path / "with" / "unseen.nii.gz"
    unseen = np.stack([read_nifti(path, channel=k).values for k in (0, 1)], -1)
    assert unseen.shape == (2, 32, 32, 2)
    assert (unseen[..., 1] >= 0).all()
    shares = np.array(record["slices"])
    own, common = np.square(unseen[..., 1]).sum((1, 2)), np.square(unseen[..., 0]).sum((1, 2))
    draws = len(list((tmp_path / "with" / "samples").iterdir()))
    np.testing.assert_allclose(own / (common + own * (1 - 1 / draws)), shares[:, 1], rtol=0.02)
    with Image.open(tmp_path / "with" / "evidence.png") as picture:
        assert picture.size == (4 * 256, 2 * 256 + TITLE)
        assert len(np.unique(np.asarray(picture))) > 100
    done(*args, "-o", tmp_path / "without")
    same = [read_nifti(tmp_path / name / "recon.nii.gz").values for name in ("with", "without")]
    assert np.array_equal(*same)
    assert not (tmp_path / "without" / "influence.nii.gz").exists()


def test_the_influence_needs_samples_of_a_prior(
    refused: Refused, recon_args: list[object], noisy: Path, tmp_path: Path
) -> None:
    args = ("--influence", "-o", tmp_path / "out")
    assert "--influence needs two --samples or more" in refused(*recon_args, *args)
    message = refused("recon", noisy, "--baseline", "fbp", *args)
    assert "--influence does not apply to the baseline fbp" in message


@pytest.mark.slow
def test_two_priors_are_compared(
    done: Command, refused: Refused, noisy: Path, prior: Path,
    make_prior: Callable[..., Path], tmp_path: Path,
) -> None:  # fmt: skip
    other = make_prior(tmp_path / "other.safetensors", data_mean=0.6)
    folders = [tmp_path / name for name in ("a", "b")]
    for folder, chosen in zip(folders, (prior, other), strict=True):
        done("recon", noisy, "--prior", chosen, *SAMPLING, "-o", folder)
    said = " ".join(done("compare", *folders, "-o", tmp_path / "d").err.split())
    record = json.loads((tmp_path / "d" / "comparison.json").read_text())
    assert f"{100 * record['share_apart']:.3g} % of the body's pixels do not overlap" in said
    values = read_nifti(tmp_path / "d" / "difference.nii.gz").values
    first, second = (read_nifti(folder / "recon.nii.gz").values for folder in folders)
    np.testing.assert_allclose(values, first - second, atol=1e-3)
    settings: dict[str, Any] = {"samples": 3, "steps": 4, "precision": "float32"}
    found = difference(*(ms.reconstruct(noisy, each, **settings) for each in (prior, other)))
    assert found.share == pytest.approx(record["share_apart"], abs=0.01)
    into = ("-o", tmp_path / "e")
    assert "holds no recon.nii.gz" in refused("compare", folders[0], tmp_path, *into)
    shutil.copytree(folders[0], tmp_path / "c")
    provenance = tmp_path / "c" / "provenance.json"
    changed(provenance, provenance, _set(measurement_sha256="0" * 64))
    message = refused("compare", folders[0], tmp_path / "c", *into)
    assert "is of another measurement than" in message
    (tmp_path / "c" / "interval.nii.gz").unlink()
    assert "holds no interval.nii.gz" in refused("compare", folders[0], tmp_path / "c", *into)

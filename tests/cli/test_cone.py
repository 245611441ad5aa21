"""Cone-beam scans on the command line and from Python: shapes, resumption, outputs and refusals."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import medscore as ms
from medscore.datasets.nifti import read_nifti
from medscore.engine.loop import StepInfo
from medscore.errors import Interrupted
from medscore.measurements.measurement import Measurement, read_measurement

Command = Callable[..., Any]
FEW = {"samples": 2, "steps": 4, "precision": "float32"}


@pytest.fixture
def meas(done: Command, scan: Path, tmp_path: Path) -> Path:
    """A cone-beam scan of two slices."""
    args = ("--task", "cone-ct", "--views", 6, "--noise", "poisson:1e5")
    said = done("simulate", scan, *args, "-o", tmp_path / "m.h5").err
    assert "2 slice(s), ConeBeam(2x32x32 voxels" in " ".join(said.split())
    return tmp_path / "m.h5"


@pytest.fixture
def whole(meas: Path) -> Measurement:
    return read_measurement(meas)


@pytest.mark.slow
def test_a_whole_volume_has_the_shape_of_slices(whole: Measurement, prior: Path) -> None:
    found = ms.reconstruct(whole, prior, **FEW)
    assert found.samples.shape == (2, 2, 32, 32)
    assert found.residual.shape == (1, 2)
    assert found.mean.shape == (2, 32, 32)
    assert found.record["settings"]["conditioner"] == "diffpir"
    assert np.array_equal(ms.reconstruct(whole, prior, **FEW).samples, found.samples)


@pytest.mark.slow
def test_an_interrupted_run_resumes_with_the_same_volume(
    whole: Measurement, prior: Path, tmp_path: Path
) -> None:
    expected = ms.reconstruct(whole, prior, **FEW).samples

    def stop(info: StepInfo) -> None:
        if info.done == 6:
            raise KeyboardInterrupt

    state = tmp_path / "state"
    with pytest.raises((Interrupted, KeyboardInterrupt)):
        ms.reconstruct(whole, prior, **FEW, state=state, on_step=stop)
    assert state.is_dir()
    again = ms.reconstruct(whole, prior, **FEW, state=state)
    assert np.array_equal(again.samples, expected)


@pytest.mark.slow
def test_a_cone_beam_scan_is_reconstructed(
    done: Command, meas: Path, scan: Path, prior: Path, tmp_path: Path
) -> None:
    args = ("--prior", prior, "--samples", 2, "--steps", 3, "--device", "cpu")
    done("recon", meas, *args, "--reference", scan, "-o", tmp_path / "out")
    record = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert record["task"] == "cone-ct"
    numbers = read_measurement(meas).data.size / (2 * 32 * 32)
    assert record["condition"]["data_per_pixel"] == pytest.approx(numbers, rel=1e-6)
    shape = read_nifti(scan).values.shape
    for name in ("recon.nii.gz", "std.nii.gz"):
        assert read_nifti(tmp_path / "out" / name).values.shape == shape
    rows = json.loads((tmp_path / "out" / "metrics.json").read_text())["rows"]
    assert {row["method"] for row in rows} >= {"FDK", "mean of 2"}


def test_the_algorithm_of_feldkamp_is_the_baseline_fbp(
    done: Command, meas: Path, scan: Path, tmp_path: Path
) -> None:
    done("recon", meas, "--baseline", "fbp", "-o", tmp_path / "fdk")
    found = read_nifti(tmp_path / "fdk" / "recon.nii.gz").values
    truth = read_nifti(scan).values
    assert np.corrcoef(found.ravel(), truth.ravel())[0, 1] > 0.7


@pytest.mark.slow
def test_total_variation_takes_the_volume_as_a_whole(whole: Measurement, scan: Path) -> None:
    image = ms.load_image(scan)
    few = {"weight": 1e-4, "iterations": 60}
    found = ms.reconstruct(whole, method="fista-tv", parameters=few)
    fdk = ms.reconstruct(whole, method="fbp")
    assert found.samples.shape == (2, 1, 32, 32)
    assert ms.quality(found, image).psnr > ms.quality(fdk, image).psnr + 1


@pytest.mark.parametrize("name", ["li", "nmar"])
def test_baselines_of_single_slices_are_refused(refused: Command, meas: Path, name: str) -> None:
    message = refused("recon", meas, "--baseline", name, "-o", meas.parent / "out")
    assert f"{name} reconstructs CT projections of slices" in message


def test_samples_of_the_posterior_of_whole_volumes_are_refused(
    refused: Command, meas: Path
) -> None:
    args = ("--prior", "ct-128", "--preset", "posterior", "-o", meas.parent / "out")
    assert "are those of separate slices" in refused("recon", meas, *args)


def test_the_influence_is_not_measured_of_whole_volumes(
    refused: Command, meas: Path, prior: Path
) -> None:
    args = ("--prior", prior, "--samples", 2, "--influence", "-o", meas.parent / "out")
    assert "--influence is measured of separate slices" in refused("recon", meas, *args)

"""``medscore recon``: from a measurement to the reconstruction and its provenance."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from medscore.datasets.dicom.read import read_dicom
from medscore.datasets.nifti import read_nifti
from medscore.measurements.measurement import read_measurement
from medscore.registry import methods as registry
from medscore.registry.noise import ESTIMATES
from medscore.registry.presets import preset, thesis_presets

Command = Callable[..., Any]
Args = list[object]


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def _bytes(folder: Path) -> bytes:
    return (folder / "recon.nii.gz").read_bytes()


def _values(folder: Path) -> NDArray[np.float32]:
    return read_nifti(folder / "recon.nii.gz").values


def _provenance(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "provenance.json").read_text())
    return record


def test_one_sample_of_a_nifti_leaves_image_preview_and_record(reconstructed: Path) -> None:
    assert _files(reconstructed) == {"recon.nii.gz", "preview.png", "provenance.json"}


def test_the_reconstruction_lies_where_the_measurement_does(exact: Path, measurement: Path) -> None:
    found = read_nifti(exact / "recon.nii.gz")
    assert found.values.shape == (2, 32, 32)
    np.testing.assert_allclose(found.affine, read_measurement(measurement).affine, atol=1e-5)


def test_the_reconstruction_agrees_with_noise_free_data(exact: Path) -> None:
    assert _provenance(exact)["relative_residual"]["max"] <= 1e-3


def test_views_that_fix_the_image_give_it_back_in_hounsfield_units(exact: Path, scan: Path) -> None:
    truth, found = read_nifti(scan).values, _values(exact)
    for level in (-1000, 0):  # air and water
        assert found[truth == level].mean() == pytest.approx(level, abs=20)


def test_the_record_holds_what_fixes_the_run(reconstructed: Path) -> None:
    record = _provenance(reconstructed)
    assert record["settings"]["seed"] == 0
    assert record["settings"]["steps"] == 8
    assert record["prior"]["name"] == "tiny"
    assert record["nfe_per_sample"] == 8 * 2 + 1  # predictor and corrector, Tweedie at the end
    for key in ("measurement_sha256", "source_sha256"):
        assert len(record[key]) == 64


def test_the_preview_is_a_picture(reconstructed: Path) -> None:
    with Image.open(reconstructed / "preview.png") as picture:
        assert picture.size == (2 * 256, 2 * 256 + 16)


def test_the_same_seed_gives_the_same_bytes(
    done: Command, recon_args: Args, reconstructed: Path, tmp_path: Path
) -> None:
    done(*recon_args, "-o", tmp_path / "again")
    assert _bytes(tmp_path / "again") == _bytes(reconstructed)


def test_another_seed_gives_another_sample(
    done: Command, recon_args: Args, reconstructed: Path, tmp_path: Path
) -> None:
    done(*recon_args, "--seed", 1, "-o", tmp_path / "other")
    assert np.abs(_values(tmp_path / "other") - _values(reconstructed)).max() > 1


def test_several_samples_add_their_spread_and_themselves(
    done: Command, recon_args: Args, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done(*recon_args, "--samples", 3, "-o", out)
    extra = {"std.nii.gz", "interval.nii.gz", *(f"samples/{k:03d}.nii.gz" for k in range(3))}
    assert _files(out) == {"recon.nii.gz", "preview.png", "provenance.json", *extra}
    samples = np.stack([read_nifti(path).values for path in sorted((out / "samples").iterdir())])
    np.testing.assert_allclose(_values(out), samples.mean(0), atol=1e-2)
    deviation = read_nifti(out / "std.nii.gz").values
    np.testing.assert_allclose(deviation, samples.std(0, ddof=1), atol=1e-2)


def test_the_first_sample_does_not_depend_on_how_many_follow(
    done: Command, recon_args: Args, reconstructed: Path, tmp_path: Path
) -> None:
    done(*recon_args, "--samples", 2, "-o", tmp_path / "two")
    first = read_nifti(tmp_path / "two" / "samples" / "000.nii.gz").values
    assert np.abs(first - _values(reconstructed)).max() / 2500 <= 1e-4


def test_the_result_does_not_depend_on_the_batch_size(
    done: Command, recon_args: Args, reconstructed: Path, tmp_path: Path
) -> None:
    done(*recon_args, "--batch-size", 1, "-o", tmp_path / "single")
    assert np.abs(_values(tmp_path / "single") - _values(reconstructed)).max() / 2500 <= 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["fast", "thesis"])
@pytest.mark.parametrize("views", [4, 12])
def test_the_final_step_does_not_depend_on_the_batch_size(
    done: Command, scan: Path, prior: Path, tmp_path: Path, views: int, preset: str
) -> None:
    """A is almost singular for few views, and the untrained prior is far from the data."""
    done("simulate", scan, "--views", views, "-o", tmp_path / "m.h5")
    args = ["recon", tmp_path / "m.h5", "--prior", prior, "--steps", 30, "--device", "cpu"]
    for size in (1, 8):
        done(*args, "--preset", preset, "--batch-size", size, "-o", tmp_path / f"by {size}")
    gap = np.abs(_values(tmp_path / "by 1") - _values(tmp_path / "by 8")).max()
    assert gap / 2500 <= 1e-4


def test_a_reference_adds_metrics(
    done: Command, recon_args: Args, scan: Path, tmp_path: Path
) -> None:
    done(*recon_args, "--samples", 2, "--reference", scan, "-o", tmp_path / "out")
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert [row["method"] for row in metrics["rows"]] == ["FBP", "one sample", "mean of 2"]
    assert all(0 < row["psnr"] < 60 and 0 < row["ssim"] <= 1 for row in metrics["rows"])
    assert "-1000..1500 HU" in metrics["convention"]


def test_a_reference_may_hold_more_slices_than_were_measured(
    done: Command, prior: Path, scan: Path, tmp_path: Path
) -> None:
    meas, out = tmp_path / "m.h5", tmp_path / "out"
    done("simulate", scan, "--slices", "1:2", "--noise", "gaussian:0.02", "-o", meas)
    done("recon", meas, "--prior", prior, "--steps", 4, "--reference", scan, "-o", out)
    assert "metrics.json" in _files(out)


def test_a_reference_of_another_place_is_refused(
    refused: Callable[..., str], recon_args: Args, dicom_scan: Path, tmp_path: Path
) -> None:
    message = refused(*recon_args, "--reference", dicom_scan, "-o", tmp_path / "out")
    assert "grid of the measurement" in message


def test_a_dicom_source_adds_a_dicom_series(
    done: Command, prior: Path, dicom_scan: Path, tmp_path: Path
) -> None:
    done("simulate", dicom_scan, "--size", 32, "--views", 36, "-o", tmp_path / "m.h5")
    done("recon", tmp_path / "m.h5", "--prior", prior, "--steps", 8, "-o", tmp_path / "out")
    assert "dicom/0001.dcm" in _files(tmp_path / "out")
    derived = read_dicom(tmp_path / "out" / "dicom")
    np.testing.assert_allclose(derived.values, _values(tmp_path / "out").clip(-1024), atol=0.0505)
    np.testing.assert_allclose(
        derived.affine, read_measurement(tmp_path / "m.h5").affine, atol=1e-5
    )


def test_noisy_data_are_not_forced_to_fit(reconstructed: Path) -> None:
    record = _provenance(reconstructed)
    parameters = record["settings"]["parameters"]
    assert parameters == {"sampler.snr": 0.45, "sampler.corrections": 1, "conditioner.lam": None}
    assert not record["final_exact_step"]
    assert record["relative_residual"]["max"] > 1e-3


def test_divergence_is_refused_and_leaves_nothing(
    refused: Callable[..., str], recon_args: Args, tmp_path: Path
) -> None:
    message = refused(*recon_args, "--snr", 10, "-o", tmp_path / "out")
    assert "diverged" in message
    assert "after step" in message


@pytest.mark.parametrize("sampler", registry.SAMPLERS)
def test_every_sampler_reconstructs(
    done: Command, recon_args: Args, tmp_path: Path, sampler: str
) -> None:
    """All samplers run on the default grid, and each step has the stated evaluations."""
    done(*recon_args, "--sampler", sampler, "--grid", "log-snr", "-o", tmp_path / "out")
    twice = ("pc", "pc-ozaki", "dpm-solver-2", "heun", "edm-stochastic")
    thrice = ("dpm-solver-3",)
    cost = 2 if sampler in twice else 3 if sampler in (*thrice, "annealed-langevin") else 1
    assert _provenance(tmp_path / "out")["nfe_per_sample"] == 8 * cost + 1


def _needs_more(name: str) -> bool:
    """True if a conditioner does not support the Radon operator."""
    return name in ("replacement", "ddrm")


@pytest.mark.parametrize("name", [n for n in registry.CONDITIONERS if not _needs_more(n)])
def test_every_conditioner_reconstructs(
    done: Command, recon_args: Args, tmp_path: Path, name: str
) -> None:
    done(*recon_args, "--sampler", "ddim", "--conditioner", name, "-o", tmp_path / "out")
    record = _provenance(tmp_path / "out")
    assert record["settings"]["conditioner"] == name
    assert record["nfe_per_sample"] == (8 * 3 + 1 if name == "daps" else 9)


@pytest.mark.parametrize("name", [n for n in registry.CONDITIONERS if _needs_more(n)])
def test_a_conditioner_that_cannot_serve_ct_is_refused(
    refused: Callable[..., str], recon_args: Args, tmp_path: Path, name: str
) -> None:
    message = refused(*recon_args, "--conditioner", name, "-o", tmp_path / "out")
    assert " T; use " in message
    assert "another conditioner" in message


@pytest.mark.slow
def test_without_options_it_is_the_fast_preset(
    done: Command, measurement: Path, prior: Path, tmp_path: Path
) -> None:
    done("recon", measurement, "--prior", prior, "-o", tmp_path / "out")
    record = _provenance(tmp_path / "out")
    assert record["nfe_per_sample"] == 50
    assert record["relative_residual"]["max"] <= 1e-3
    chosen = record["settings"]
    assert (chosen["sampler"], chosen["conditioner"]) == ("ddim", "diffpir")


@pytest.mark.parametrize("name", ["thesis", *thesis_presets()])
def test_presets_of_the_dissertation(
    done: Command, measurement: Path, prior: Path, tmp_path: Path, name: str
) -> None:
    """The dissertation's presets have 1000 scales (B.6.4); a single option overrides a preset."""
    args = ("recon", measurement, "--prior", prior, "--preset", name, "--steps", 3)
    done(*args, "--snr", 0.1, "-o", tmp_path / "out")
    found, chosen = _provenance(tmp_path / "out"), preset(name)
    assert found["nfe_per_sample"] == 3 * 2 + 1
    lam = chosen.parameters["conditioner.lam"]
    assert found["settings"]["parameters"]["conditioner.lam"] == lam
    assert (chosen.steps, found["settings"]["parameters"]["sampler.snr"]) == (1000, 0.1)


def test_the_dissertations_numbers() -> None:
    tuned = {
        name: tuple(preset(name).parameters[p] for p in ("sampler.snr", "conditioner.lam"))
        for name in thesis_presets()
    }
    assert tuned == {
        "sparse-ct-lidc": (0.246, 0.841),
        "mar-lidc": (0.209, 0.227),
        "sparse-ct-ldct": (0.4, 0.72),
        "mri-brats": (0.577, 0.982),
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("sampler: [", "YAML"),
        ("speed: 3", "speed: there is no such key"),
        ("sampler: magic", "no sampler 'magic'"),
        ("set: {conditioner.eta: 1}", "no parameter 'eta'"),
        ("set: {zeta: 1}", "no parameter 'zeta'"),
        ("steps: many", "steps"),
    ],
)
def test_a_preset_that_says_something_else_is_refused(
    refused: Callable[..., str], measurement: Path, tmp_path: Path, content: str, words: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    message = refused("recon", measurement, "--preset", path, "-o", tmp_path / "out")
    assert words in message


@pytest.mark.slow
@pytest.mark.parametrize("estimate", ESTIMATES)
def test_the_noise_level_can_come_from_the_data(
    done: Command, refused: Callable[..., str], scan: Path, prior: Path, tmp_path: Path,
    estimate: str,
) -> None:  # fmt: skip
    done("simulate", scan, "--views", 36, "--noise", "poisson:1e4", "-o", tmp_path / "m.h5")
    args = ("recon", tmp_path / "m.h5", "--prior", prior, "--steps", 8)
    done(*args, "--noise", estimate, "-o", tmp_path / "estimated")
    done(*args, "-o", tmp_path / "known")
    gap = np.abs(_values(tmp_path / "estimated") - _values(tmp_path / "known"))
    assert 0 < gap.mean() < 100  # the prior is untrained, so its weight has a large effect
    assert "hiss" in refused(*args, "--noise", "hiss", "-o", tmp_path / "out")


@pytest.mark.parametrize("grid", registry.GRIDS)
def test_every_grid_reconstructs(
    done: Command, recon_args: Args, tmp_path: Path, grid: str
) -> None:
    done(*recon_args, "--sampler", "dpm-solver++", "--grid", grid, "-o", tmp_path / "out")
    assert _provenance(tmp_path / "out")["settings"]["grid"] == grid


def test_bf16_stays_near_float32(
    done: Command, recon_args: Args, reconstructed: Path, tmp_path: Path
) -> None:
    done(*recon_args, "--precision", "bf16", "-o", tmp_path / "bf16")
    error = np.abs(_values(tmp_path / "bf16") - _values(reconstructed)) / 2500
    assert error.mean() == pytest.approx(0, abs=0.02)

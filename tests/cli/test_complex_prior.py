"""Priors of complex MR images for any matrix: drawing, reconstruction, and refusals."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from local_networks import COMPLEX, write_prior
from PIL import Image

import medscore as ms
from medscore.datasets.collections.phase import random_phase, with_phase
from medscore.datasets.load import load_image
from medscore.errors import MedscoreError
from medscore.evaluation.config import MethodSpec
from medscore.evaluation.methods import method_of, verify
from medscore.measurements.measurement import Measurement, write_measurement
from medscore.operators.mri.fourier import Fourier
from medscore.operators.mri.multicoil import MulticoilFourier
from medscore.priors import ClassGuidance
from medscore.priors.checkpoint import load_prior
from medscore.reconstruction.contrast import contradictions, estimated_losses
from medscore.reconstruction.run import reconstruct

Command = Callable[..., Any]


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prior(tmp_path_factory.mktemp("prior") / "any.safetensors", **COMPLEX)


def measurement(coils: int, shape: tuple[int, int] = (18, 22)) -> Measurement:
    """K-space of a complex image, every second line and the centre."""
    generator = torch.Generator().manual_seed(0)
    magnitude = torch.rand(shape, generator=generator)
    image = torch.complex(*with_phase(magnitude, random_phase(magnitude, 1.0, generator)))
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[::2] = True
    mask[shape[0] // 2 - 3 : shape[0] // 2 + 3] = True
    operator: Any = Fourier(mask)
    if coils > 1:
        maps = torch.randn(1, coils, *shape, dtype=torch.complex64, generator=generator)
        operator = MulticoilFourier(maps / maps.abs().square().sum(1, keepdim=True).sqrt(), mask)
    y = operator.forward(image[None, None])
    return ms.make_measurement(y, operator, image_unit="magnitude", spacing_mm=1.0)


def test_drawn_images_are_shown_as_magnitudes(done: Command, prior: Path, tmp_path: Path) -> None:
    done(
        "generate", "--prior", prior, "-n", 2, "--size", 18, "--spacing", 2.0, "--steps", 2,
        "--device", "cpu", "-o", tmp_path / "out",
    )  # fmt: skip
    with np.load(tmp_path / "out" / "samples.npz") as samples:
        values = samples["image"]
    assert values.shape == (2, 18, 18, 2)
    with Image.open(tmp_path / "out" / "images" / "00000.png") as picture:
        shown = np.asarray(picture, dtype=float) / 255
    magnitude = np.linalg.norm(values[0], axis=-1).clip(0, 1)
    np.testing.assert_allclose(shown, magnitude, atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize("coils", [1, 3])
def test_complex_data_are_reconstructed_at_their_own_matrix(prior: Path, coils: int) -> None:
    """The side 22 is no multiple of the network's stride; the class changes the samples."""
    m = measurement(coils)
    found = reconstruct(m, prior, steps=2)
    assert found.samples.shape == (1, 1, 18, 22)
    assert float(found.residual.max()) < 1e-3
    assert float(found.samples.min()) >= 0  # magnitudes
    told = reconstruct(m, load_prior(prior).of_class("T2"), steps=2)
    assert float(np.abs(told.samples - found.samples).max()) > 1e-6


@pytest.mark.parametrize("task", ["mri", "mri-multicoil"])
def test_a_measurement_of_a_real_image_is_refused_in_one_line(
    prior: Path, tmp_path: Path, task: str
) -> None:
    values = np.random.default_rng(0).uniform(0, 100, (22, 18, 1)).astype(np.float32)
    nib.save(nib.Nifti1Image(values, np.diag([-1.0, -1.0, 4.0, 1.0])), tmp_path / "m.nii.gz")
    m = ms.simulate(load_image(tmp_path / "m.nii.gz", modality="MR"), task, acceleration=2)
    with pytest.raises(MedscoreError, match="of a real image, prior any is of complex") as refused:
        reconstruct(m, prior, steps=1)
    assert "\n" not in str(refused.value)


def test_a_simulated_scan_with_a_phase_is_reconstructed(
    done: Command, prior: Path, tmp_path: Path
) -> None:
    values = np.random.default_rng(0).uniform(0, 100, (22, 18, 1)).astype(np.float32)
    nib.save(nib.Nifti1Image(values, np.diag([-1.0, -1.0, 4.0, 1.0])), tmp_path / "m.nii.gz")
    done(
        "simulate", tmp_path / "m.nii.gz", "--task", "mri-multicoil", "--acceleration", 1,
        "--phase", "random", "--maps", "espirit", "--coils", 3, "--noise", "gaussian:0.1",
        "-o", tmp_path / "m.h5",
    )  # fmt: skip
    done("recon", tmp_path / "m.h5", "--prior", prior, "--steps", 3, "-o", tmp_path / "out")
    found = nib.load(tmp_path / "out" / "recon.nii.gz").get_fdata()
    assert np.abs(found - values).mean() < 5  # all lines are measured


def test_the_contract_is_shown_with_its_classes_and_its_rule(done: Command, prior: Path) -> None:
    told = json.loads(done("priors", "info", prior).out)
    assert (told["classes"], told["complex_data"]) == (["T1", "T2"], "two-channel")


def written(path: Path) -> Path:
    write_measurement(path, measurement(1))
    return path


def test_a_comparison_tells_the_contrast(prior: Path) -> None:
    def method(contrast: str | None) -> MethodSpec:
        fields = {"prior": str(prior), "samples": 1, "steps": 2, "contrast": contrast}
        return MethodSpec.model_validate({"name": "ours", "prior": fields})

    m = measurement(1)
    found = method_of(method("T2"), "any task").reconstruct(m)
    told = reconstruct(m, prior, samples=1, steps=2, contrast="T2")
    np.testing.assert_array_equal(found.samples, told.samples)
    untold = method_of(method(None), "any task").reconstruct(m)
    assert float(np.abs(found.samples - untold.samples).max()) > 1e-6
    with pytest.raises(MedscoreError, match="'ours': `contrast` is 'T9', which prior any does not"):
        verify(method("T9"), "any task", m, Path("x.yaml"))


def test_a_contrast_is_told_and_recorded(done: Command, prior: Path, tmp_path: Path) -> None:
    file, common = written(tmp_path / "m.h5"), ("--prior", prior, "--steps", 2)
    images, records = [], []
    for name, told in (("plain", []), ("none", ["none"]), ("told", ["T2"])):
        options = ["--contrast", *told] if told else []
        done("recon", file, *common, *options, "-o", tmp_path / name)
        images.append(nib.load(tmp_path / name / "recon.nii.gz").get_fdata())
        records.append(json.loads((tmp_path / name / "provenance.json").read_text())["prior"])
    assert np.array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])
    assert [record.get("class") for record in records] == [None, None, "T2"]


def test_the_state_of_an_interrupted_run_belongs_to_one_contrast(
    prior: Path, tmp_path: Path
) -> None:
    def stop(info: Any) -> None:
        raise KeyboardInterrupt

    m, state = measurement(1), tmp_path / "state"
    with pytest.raises(KeyboardInterrupt):
        reconstruct(m, prior, steps=2, contrast="T1", state=state, on_step=stop)
    with pytest.raises(MedscoreError, match="state"):
        reconstruct(m, prior, steps=2, contrast="T2", state=state)
    of_class = load_prior(prior).of_class("T2")
    with pytest.raises(MedscoreError, match="state"):
        reconstruct(m, of_class, steps=2, state=state)


def test_an_unknown_contrast_is_refused_with_the_known_ones(
    refused: Callable[..., str], prior: Path, tmp_path: Path
) -> None:
    file = written(tmp_path / "m.h5")
    out = tmp_path / "out"
    message = refused("recon", file, "--prior", prior, "--contrast", "PD", "-o", out)
    assert "--contrast is 'PD', which prior any does not know" in message
    assert "T1, T2, none, estimate" in message
    message = refused("generate", "--prior", prior, "--label", "PD", "-o", out)
    assert "--label is 'PD', which prior any does not know" in message
    file = write_prior(tmp_path / "plain.safetensors")
    message = refused("generate", "--prior", file, "--label", "T1", "-o", out)
    assert "prior any knows no classes itself" in message
    assert not out.exists()


def test_images_of_a_class_are_drawn(done: Command, prior: Path, tmp_path: Path) -> None:
    common = ("generate", "--prior", prior, "-n", 1, "--size", 16, "--steps", 2)
    images = []
    for name, options in (("plain", []), ("told", ["--label", "T1"])):
        done(*common, *options, "--device", "cpu", "-o", tmp_path / name)
        with np.load(tmp_path / name / "samples.npz") as samples:
            images.append(samples["image"])
    assert not np.array_equal(*images)
    assert (
        json.loads((tmp_path / "told" / "provenance.json").read_text())["settings"]["label"] == "T1"
    )


def test_an_estimated_contrast_is_told_noted_and_recorded(prior: Path) -> None:
    """The result is that of the class with the smallest error of denoising a first result."""
    m = measurement(1)
    found = reconstruct(m, prior, steps=2, contrast="estimate")
    told = found.record["contrast"]
    first = reconstruct(m, prior, steps=2)
    assert told["losses"] == pytest.approx(
        estimated_losses(load_prior(prior), first), abs=1e-6
    )  # fmt: skip
    name = min(told["losses"], key=told["losses"].get)
    assert told["estimated"] == found.record["prior"]["class"] == name
    assert found.notes[-1] == f"the contrast is estimated to be {name}"
    np.testing.assert_array_equal(
        found.samples, reconstruct(m, prior, steps=2, contrast=name).samples
    )


@pytest.mark.parametrize("contrast", ["T1", "T2"])
def test_a_contrast_that_the_image_contradicts_is_warned_of(
    prior: Path, contrast: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medscore.reconstruction.contrast.MARGIN", 0.0)
    found = reconstruct(measurement(1), prior, steps=2, contrast=contrast)
    losses = found.record["contrast"]["losses"]
    assert losses == pytest.approx(estimated_losses(load_prior(prior), found), abs=1e-6)
    best = min(losses, key=losses.get)
    said = [each for each in found.warnings if f"looks more like {best} than like" in each]
    assert len(said) == (contrast != best)


def test_contrasts_of_almost_equal_errors_contradict_nothing() -> None:
    assert not contradictions("T1", {"T1": 1.019, "T2": 1.0})
    (said,) = contradictions("T1", {"T1": 1.3, "T2": 1.0})
    assert "more like T2 than like T1" in said
    assert "30 % larger by T1" in said


@pytest.mark.parametrize("told", [{}, {"contrast": "none"}])
def test_without_a_contrast_there_is_nothing_to_contradict(
    prior: Path, told: dict[str, str]
) -> None:
    assert "contrast" not in reconstruct(measurement(1), prior, steps=1, **told).record


@pytest.mark.parametrize("contrast", ["T1", "none", "estimate"])
def test_a_prior_that_is_no_network_is_told_no_contrast(prior: Path, contrast: str) -> None:
    placed = load_prior(prior).on_grid((18, 22), 1.0)
    guided = ClassGuidance(placed.of_class("T1"), 2.0)
    assert reconstruct(measurement(1), guided, steps=1).nfe == 4
    with pytest.raises(MedscoreError, match="ClassGuidance cannot be told a `contrast`"):
        reconstruct(measurement(1), guided, steps=1, contrast=contrast)

"""``medscore train``: from a recipe and slices to a prior that ``recon`` uses."""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml

from medscore.priors.checkpoint import read_checkpoint

Command = Callable[..., Any]
Refused = Callable[..., str]
Recipe = dict[str, Any]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patients with three 64 x 64 slices each: water discs in air, 2 mm pixels."""
    folder = tmp_path_factory.mktemp("data")
    y, x = np.mgrid[-31.5:32, -31.5:32]
    for patient in (1, 2):
        slices = [np.where(np.hypot(x, y) < 10 + 5 * k + patient, 40.0, -1000.0) for k in range(3)]
        image = nib.Nifti1Image(np.float32(slices).transpose(2, 1, 0), np.diag([2, 2, 5, 1.0]))
        nib.save(image, folder / f"p{patient}.nii.gz")
    return folder


@pytest.fixture
def recipe() -> Recipe:
    return {
        "name": "tiny-trained", "modality": "CT", "quantity": "HU", "low": -1000, "high": 1500,
        "size": 32, "augmentation": {"zoom": [0.8, 1.25]}, "data": ["*.nii.gz"], "licence": "CC0",
        "sde": {"kind": "ve", "sigma_min": 0.01, "sigma_max": 10.0},
        "network": {"kind": "unet", "channels": [16, 16], "blocks": 1, "fold": 2, "groups": 8},
        "objective": {"kind": "edm"},
        "plan": {"steps": 4, "batch": 2, "learning_rate": 1e-3, "warmup": 2, "save_every": 2},
    }  # fmt: skip


@pytest.fixture
def train(medscore: Command, recipe: Recipe, data: Path, tmp_path: Path) -> Command:
    """Train into a folder beside the recipe; further arguments are options."""

    def call(name: str, *options: object) -> Any:
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        args = [tmp_path / "recipe.yaml", "--data", data, "-o", tmp_path / name]
        return medscore("train", *args, *options)

    return call


def _trained(folder: Path) -> Path:
    return folder / "tiny-trained.safetensors"


def _hash(folder: Path) -> str:
    return read_checkpoint(_trained(folder)).sha256


def test_training_leaves_recipe_state_and_prior(train: Command, tmp_path: Path) -> None:
    assert train("run").code == 0
    found = {path.name for path in (tmp_path / "run").iterdir()}
    assert found == {
        "recipe.yaml", "state.safetensors", "tiny-trained.safetensors", "samples", "tensorboard",
        "loss.jsonl",
    }  # fmt: skip


def test_training_prints_a_good_sigma_max(train: Command) -> None:
    assert "6 slices of 2 patients; the largest distance" in " ".join(train("run").err.split())


def test_the_contract_describes_the_training_data(train: Command, tmp_path: Path) -> None:
    train("run")
    contract = read_checkpoint(_trained(tmp_path / "run")).contract
    assert (contract.size, contract.modality, contract.quantity) == (32, "CT", "HU")
    assert contract.spacing_mm == (3.2, 5.0)  # 2 x 2 mm, magnified by 1.25 down to 0.8
    assert (contract.provenance.patients, contract.provenance.slices) == (2, 6)
    assert contract.provenance.steps == 4


@pytest.mark.slow
def test_a_trained_prior_reconstructs(
    train: Command, done: Command, noisy: Path, data: Path, tmp_path: Path
) -> None:
    train("run")
    image, meas = data / "p1.nii.gz", tmp_path / "m.h5"
    done("simulate", image, "--size", 32, "--noise", "gaussian:0.02", "-o", meas)
    prior = _trained(tmp_path / "run")
    done("priors", "verify", prior)
    done("recon", meas, "--prior", prior, "--steps", 8, "-o", tmp_path / "out")
    assert (tmp_path / "out" / "recon.nii.gz").is_file()


def test_an_interrupted_run_resumes_to_the_same_prior(
    train: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def bar(title: str, total: int) -> Iterator[Callable[[int, float], None]]:
        def show(step: int, loss: float) -> None:
            if step == 3:  # the state of step 2 is on disk
                raise KeyboardInterrupt

        yield show

    train("whole")
    with monkeypatch.context() as patch:
        patch.setattr("medscore.cli.train.training_bar", bar)
        assert train("killed").code == 130
    assert not _trained(tmp_path / "killed").exists()
    assert train("killed").code == 0
    assert _hash(tmp_path / "killed") == _hash(tmp_path / "whole")


def test_the_recipe_in_the_output_folder_continues_the_run(
    train: Command, medscore: Command, data: Path, tmp_path: Path
) -> None:
    train("run")
    kept = tmp_path / "run" / "recipe.yaml"
    result = medscore("train", kept, "--data", data, "-o", kept.parent, "--steps", 5)
    assert result.code == 0, result.err
    assert read_checkpoint(_trained(kept.parent)).contract.provenance.steps == 5


def test_fewer_steps_than_the_state_has_are_refused(train: Command, tmp_path: Path) -> None:
    train("run")
    before = _trained(tmp_path / "run").read_bytes()
    result = train("run", "--steps", 1)
    assert result.code == 2
    assert "of step 4, beyond the last step 1" in " ".join(result.err.split())
    assert _trained(tmp_path / "run").read_bytes() == before


def test_steps_on_the_command_line_override_the_recipe(train: Command, tmp_path: Path) -> None:
    train("run", "--steps", 1)
    assert read_checkpoint(_trained(tmp_path / "run")).contract.provenance.steps == 1


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("size", 0, "size"),
        ("size", 512, "do not reduce to 1024x1024"),
        ("modality", "PET", "modality"),
        ("low", "air", "low"),
        ("data", [], "data"),
        ("data", ["*.npz"], "no file matches"),
        ("colour", "red", "colour"),
        ("sde", {"kind": "vp", "sigma_min": 1}, "sde"),
        ("network", {"kind": "unet", "depth": 3}, "network"),
        ("plan", {"batch": 2}, "plan.steps"),
        ("network", "resnet", "no network 'resnet'; use one of: ddpm"),
        ("network", "ncsnv2-32", "image_channels must be 1"),
        ("network", "monai-3d", "spatial_dims must be 2"),
        ("name", "../elsewhere", "name"),
    ],
)
def test_refuses_a_recipe_with(
    refused: Refused, recipe: Recipe, data: Path, tmp_path: Path, key: str, value: Any, why: str
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe | {key: value}))
    assert why in refused("train", path, "--data", data, "-o", tmp_path / "run")


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("plan", "steps", 0),
        ("plan", "batch", 0),
        ("plan", "save_every", 0),
        ("plan", "learning_rate", -1.0),
        ("plan", "learning_rate", float("nan")),
        ("plan", "clip", 0.0),
        ("plan", "ema_power", -5.0),
        ("objective", "log_ratio_std", 0.0),
        ("objective", "log_ratio_mean", float("nan")),
        ("plan", "accumulate", 3),
        ("plan", "ema_rate", 1.0),
        ("augmentation", "gain", [2.0, 1.0]),
        ("plan", "warmup", -1),
        ("plan", "seed", 2**63),
        ("plan", "restarts", [9]),
        ("network", "channels", []),
        ("network", "channels", [0, 16]),
        ("network", "channels", [16, 20]),
        ("network", "channels", [16] * 6),
        ("network", "blocks", 0),
        ("network", "fold", 3),
        ("network", "groups", 0),
        ("sde", "sigma_min", 0.0),
        ("sde", "sigma_max", 0.001),
        ("sde", "sigma_max", float("inf")),
    ],
)
def test_refuses_a_number_out_of_range(
    refused: Refused,
    recipe: Recipe,
    data: Path,
    tmp_path: Path,
    section: str,
    key: str,
    value: object,
) -> None:
    path = tmp_path / "recipe.yaml"
    recipe[section][key] = value
    path.write_text(yaml.safe_dump(recipe))
    message = refused("train", path, "--data", data, "-o", tmp_path / "run")
    assert key.split("_")[0] in message


@pytest.mark.parametrize(
    ("name", "why"), [("ct-128", "no file matches"), ("ct-129", "no such configuration")]
)
def test_takes_a_shipped_recipe_by_its_name(
    refused: Refused, tmp_path: Path, name: str, why: str
) -> None:
    assert why in refused("train", name, "--data", tmp_path, "-o", tmp_path / "run")


@pytest.mark.parametrize("content", ["a: [", "", "- 1", "\x00"])
def test_refuses_what_is_not_a_recipe(
    refused: Refused, data: Path, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(content)
    assert str(path) in refused("train", path, "--data", data, "-o", tmp_path / "run")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--steps", 0), "--steps is 0"),
        (("--device", "abacus"), "--device abacus"),
        (("--data", "/no/such/folder"), "no file matches"),
    ],
    ids=["steps", "device", "data"],
)
def test_refuses_a_command_with(
    refused: Refused,
    recipe: Recipe,
    data: Path,
    tmp_path: Path,
    options: tuple[object, ...],
    why: str,
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    args = [path, "--data", data, "-o", tmp_path / "run", *options]
    assert why in refused("train", *args)


def test_refuses_a_file_for_the_output_folder(
    refused: Refused, recipe: Recipe, data: Path, tmp_path: Path
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    assert "cannot be written" in refused("train", path, "--data", data, "-o", path / "run")


def test_a_folder_of_another_network_is_refused(
    train: Command, recipe: Recipe, tmp_path: Path
) -> None:
    train("run")
    shutil.copy(_trained(tmp_path / "run"), tmp_path / "before")
    recipe["network"]["channels"] = [16, 32]
    result = train("run")
    assert result.code == 2
    assert "the saved state is from another run: recipe" in " ".join(result.err.split())
    assert _trained(tmp_path / "run").read_bytes() == (tmp_path / "before").read_bytes()


@pytest.mark.slow
def test_validation_and_samples_are_made_when_the_recipe_asks(
    train: Command, recipe: Recipe, data: Path, tmp_path: Path
) -> None:
    recipe["data"], recipe["validation"] = ["p1.nii.gz"], ["p2.nii.gz"]
    recipe["plan"] |= {"validate_every": 2, "sample_every": 4, "log_every": 2}
    assert train("run").code == 0
    lines = [
        json.loads(line) for line in (tmp_path / "run" / "loss.jsonl").read_text().splitlines()
    ]
    assert [(line["step"], line["validation"] > 0) for line in lines] == [(2, True), (4, True)]
    assert [p.name for p in (tmp_path / "run" / "samples").iterdir()] == ["0000004.png"]


def test_a_patient_in_data_and_validation_is_refused(
    train: Command, recipe: Recipe, tmp_path: Path
) -> None:
    recipe["validation"] = ["p2.nii.gz"]
    result = train("run")
    assert result.code == 2
    assert "patient p2 is in data and in validation" in " ".join(result.err.split())


@pytest.fixture
def exports(write_slice: Callable[..., Path], data: Path) -> Iterator[None]:
    """Three DICOM exports in the data folder: a and b are of one patient, c of another."""
    y, x = np.mgrid[-31.5:32, -31.5:32]
    for name, patient in (("a", "P1"), ("b", "P1"), ("c", "P2")):
        (data / f"dicom-{name}").mkdir()
        for k in range(4):
            hu = np.where(np.hypot(x, y) < 15 + 3 * k, 40, -1000)
            made = write_slice(
                f"{k}.dcm", hu, PixelSpacing=[2, 2], PatientID=patient, SeriesInstanceUID="1.2",
                ImagePositionPatient=["0", "0", f"{3 * k}"],
            )  # fmt: skip
            made.rename(data / f"dicom-{name}" / f"{k}.dcm")
    yield
    for folder in data.glob("dicom-*"):
        shutil.rmtree(folder)


@pytest.mark.usefixtures("exports")
@pytest.mark.parametrize(
    ("patterns", "said"),
    [
        (["dicom-*"], "12 slices of 2 patients"),
        (["dicom-a/*.dcm"], "4 slices of 1 patients"),
        (["dicom-a/*.dcm", "dicom-b"], "8 slices of 1 patients"),
    ],
)
def test_dicom_series_are_trained_on_and_their_patients_counted(
    train: Command, recipe: Recipe, tmp_path: Path, patterns: list[str], said: str
) -> None:
    recipe["data"] = patterns
    result = train("run")
    assert result.code == 0, result.err
    assert said in " ".join(result.err.split())
    provenance = read_checkpoint(_trained(tmp_path / "run")).contract.provenance
    slices, _, _, patients, _ = said.split()
    assert (provenance.slices, provenance.patients) == (int(slices), int(patients))


@pytest.mark.usefixtures("exports")
def test_a_patient_in_data_and_validation_by_other_folders_is_refused(
    train: Command, recipe: Recipe
) -> None:
    recipe["data"], recipe["validation"] = ["dicom-a/*.dcm", "dicom-c"], ["dicom-b"]
    result = train("run")
    assert result.code == 2
    assert "is in data and in validation (1 are): in dicom-a and dicom-b" in result.err


def test_fine_tuning_starts_with_the_priors_weights_and_records_it(
    train: Command, recipe: Recipe, tmp_path: Path
) -> None:
    """One step with a learning rate near zero keeps the weights, also with another SDE."""
    train("first")
    start = _trained(tmp_path / "first")
    recipe |= {"start": str(start), "sde": {"kind": "vp", "beta_min": 0.1, "beta_max": 20.0}}
    recipe["plan"] |= {"steps": 1, "learning_rate": 1e-30, "warmup": 0}
    assert train("second").code == 0
    again, before = (read_checkpoint(p) for p in (_trained(tmp_path / "second"), start))
    assert all(torch.equal(again.weights[k], v) for k, v in before.weights.items())
    assert again.contract.data_mean == before.contract.data_mean
    assert f"begun with tiny-trained ({before.sha256[:12]})" in again.contract.provenance.data


def test_fine_tuning_another_network_is_refused(
    train: Command, recipe: Recipe, tmp_path: Path
) -> None:
    train("first")
    recipe["start"] = str(_trained(tmp_path / "first"))
    recipe["network"]["channels"] = [16, 32]
    result = train("second")
    assert result.code == 2
    assert "in the recipe - use the same" in " ".join(result.err.split())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["score_matching", "likelihood", "high_order", "smld"])
def test_every_objective_trains(train: Command, recipe: Recipe, kind: str) -> None:
    recipe["objective"] = {"kind": kind}
    assert train("run").code == 0


def test_bits_in_the_recipe_quantise_the_images(
    train: Command, recipe: Recipe, tmp_path: Path
) -> None:
    """The loss differs for coarse levels and hardly for fine ones."""
    losses, recipe["plan"]["log_every"] = [], 1
    for bits in (1, 16, None):
        recipe["bits"] = bits
        assert train(f"bits-{bits}").code == 0
        log = (tmp_path / f"bits-{bits}" / "loss.jsonl").read_text().splitlines()
        losses.append(json.loads(log[0])["loss"])
    assert losses[1] == pytest.approx(losses[2], rel=1e-2)
    assert losses[0] != pytest.approx(losses[2], rel=1e-2)


@pytest.mark.slow
def test_a_dequantizer_is_trained_for_its_prior_and_used_with_no_other(
    train: Command, medscore: Command, recipe: Recipe, data: Path, tmp_path: Path
) -> None:
    assert train("prior").code == 0
    own = _trained(tmp_path / "prior")
    images = {key: recipe[key] for key in ("modality", "quantity", "low", "high", "size", "data")}
    recipe.clear()
    recipe.update(
        images, name="noise", licence="CC0", dequantizes=str(own), flow={"bits": 6, "hidden": 8},
        plan={"steps": 3, "batch": 2, "learning_rate": 1e-2, "warmup": 1, "save_every": 1},
    )  # fmt: skip
    assert train("flow").code == 0
    flow = tmp_path / "flow" / "noise.safetensors"
    args = ["likelihood", data / "p1.nii.gz", "--prior", own, "--method", "clean-bound",
            "--draws", 4]  # fmt: skip
    found = []
    for name, noise in (("trained", ("--dequantizer", flow)), ("uniform", ("--bits", 6))):
        result = medscore(*args, *noise, "-o", tmp_path / name)
        assert result.code == 0, result.err
        rows = (tmp_path / name / "likelihood.csv").read_text().splitlines()[1:]
        found.append([float(row.split(",")[4]) for row in rows])
    assert found[0] != found[1]
    assert np.allclose(found[0], found[1], atol=0.5)
    said = json.loads((tmp_path / "trained" / "likelihood.json").read_text())
    assert said["bits"] == 6
    both = medscore(*args, "--dequantizer", flow, "--bits", 6, "-o", tmp_path / "both")
    assert both.code == 2
    assert "--bits beside --dequantizer" in both.err
    args[3] = "ct-128"
    other = medscore(*args, "--dequantizer", flow, "-o", tmp_path / "other")
    assert other.code == 2
    assert "was trained for prior tiny-trained" in " ".join(other.err.split())
    recipe["low"] = -900
    assert train("low").code == 2


def test_a_magnitude_prior_is_trained_from_an_archive(
    train: Command, recipe: Recipe, data: Path, tmp_path: Path
) -> None:
    images = np.random.default_rng(0).random((4, 64, 64)).astype(np.float32)
    where = tmp_path / "mr"
    where.mkdir()
    np.savez(where / "a.npz", image=images, patient=list("abcd"), pixel_spacing_mm=np.ones(4))
    recipe |= {"modality": "MR", "quantity": "magnitude", "low": 0, "high": 1, "data": ["a.npz"]}
    assert train("run", "--data", where).code == 0
    contract = read_checkpoint(_trained(tmp_path / "run")).contract
    assert (contract.modality, contract.quantity) == ("MR", "magnitude")


def test_ct_as_magnitudes_is_refused(
    refused: Refused, recipe: Recipe, data: Path, tmp_path: Path
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe | {"quantity": "magnitude"}))
    said = refused("train", path, "--data", data, "-o", tmp_path / "run")
    assert "the quantity of CT images cannot be magnitude" in said

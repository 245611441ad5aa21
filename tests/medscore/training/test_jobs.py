"""``medscore.training.train``: it takes any recipe, returns a result, and prints nothing."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor
from training import OBJECTIVE, PLAN, prior, stripes

from medscore import training
from medscore.errors import MedscoreError
from medscore.priors.checkpoint import PRIOR, load_prior
from medscore.priors.contract import DataContract, Provenance, VESpec
from medscore.priors.network import NetworkPrior
from medscore.training.data import TrainingData
from medscore.training.monitor import SPIKE
from medscore.training.supervised import prepare_supervised

IMAGES: dict[str, Any] = {
    "name": "tiny", "modality": "CT", "quantity": "HU", "low": -1000, "high": 1500, "size": 16,
    "oversample": 1, "data": ["a.npz"], "licence": "CC0", "plan": {"steps": 3, "batch": 2},
}  # fmt: skip
NETWORK = {"kind": "unet", "channels": [8, 8], "blocks": 1, "fold": 2, "groups": 8}
RECIPE = IMAGES | {"sde": {"kind": "ve", "sigma_max": 10.0}, "network": NETWORK}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An archive of four CT slices of four patients."""
    values = np.random.default_rng(0).uniform(-1000, 1500, (4, 16, 16)).astype(np.float32)
    np.savez(tmp_path / "a.npz", hu=values, patient=list("abcd"), pixel_spacing_mm=np.ones(4))
    return tmp_path


def write(folder: Path, **changes: Any) -> Path:
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE | changes))
    return folder / "recipe.yaml"


@pytest.mark.parametrize("kind", [str, Path])
def test_a_recipe_is_trained_and_only_the_result_and_callbacks_tell(
    data: Path, capfd: pytest.CaptureFixture[str], kind: Callable[[Path], str | Path]
) -> None:
    started: list[training.TrainingRun[Any]] = []
    steps: list[training.StepReport] = []
    result = training.train(
        kind(write(data)), kind(data), output=kind(data / "run"), cache=kind(data / "cache"),
        on_start=started.append, on_step=steps.append,
    )  # fmt: skip
    assert capfd.readouterr() == ("", "")
    assert [report.step for report in steps] == [1, 2, 3]
    assert [run.contract.name for run in started] == ["tiny"]
    assert result.path == data / "run" / "tiny.safetensors"
    assert (result.steps, result.warnings, result.is_first) == (3, (), True)
    assert result.remark == started[0].remark
    assert result.remark.startswith("4 slices of 4 patients; the largest distance")
    assert isinstance(result.model, NetworkPrior)
    saved, t = load_prior(str(result.path)), torch.full((1,), 0.5)
    x = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(result.model.denoise(x, t), saved.denoise(x, t), atol=1e-2)
    assert (data / "cache" / "index.json").is_file()


def test_the_same_call_resumes_and_more_steps_go_on(data: Path) -> None:
    recipe = write(data)
    training.train(recipe, data, output=data / "run")
    steps: list[training.StepReport] = []
    training.train(recipe, data, output=data / "run", on_step=steps.append)
    assert steps == []
    training.train(recipe, data, output=data / "run", steps=5, on_step=steps.append)
    assert [report.step for report in steps] == [4, 5]


@pytest.mark.parametrize("name", ["steps", "devices"])
def test_a_number_below_one_is_refused_by_its_name(data: Path, name: str) -> None:
    with pytest.raises(MedscoreError, match=f"^`{name}` is 0 - use 1 or more$"):
        training.train(write(data), data, output=data / "run", **{name: 0})  # type: ignore[arg-type]
    assert not (data / "run").exists()


def test_shipped_recipes_are_found_by_name_and_others_are_refused(tmp_path: Path) -> None:
    for name in ("ct-128", "ct-unet-23"):
        with pytest.raises(MedscoreError, match="no file matches"):
            training.prepare(name, tmp_path)
    with pytest.raises(MedscoreError, match=r"no such configuration - use .*ct-128.*ct-unet-23"):
        training.prepare("ct-129", tmp_path)


@pytest.mark.parametrize(
    ("changes", "model"),
    [
        ({}, "NetworkPrior"),
        ({"scan": {"task": "sparse-ct", "views": 9}, "spacing_mm": 3.0,
          "model": {"kind": "post-processor", "network": NETWORK}}, "PostProcessor"),
    ],
    ids=["prior", "supervised"],
)  # fmt: skip
def test_the_keys_of_a_recipe_say_what_is_trained(
    data: Path, changes: dict[str, Any], model: str
) -> None:
    recipe = IMAGES | (changes or {"sde": {"kind": "vp"}, "network": NETWORK})
    (data / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    run = training.prepare(data / "recipe.yaml", data, steps=2)
    assert type(run.model).__name__ == model
    assert run.plan.steps == 2
    assert run.data.provenance.steps == 2


def test_a_priors_recipe_is_no_supervised_one(data: Path) -> None:
    with pytest.raises(MedscoreError, match=r"recipe\.yaml: spacing_mm: Field required"):
        prepare_supervised(write(data), data)


def test_patients_in_data_and_validation_are_refused(data: Path) -> None:
    with pytest.raises(MedscoreError, match=r"patient a is in data and in validation \(4 are"):
        training.prepare(write(data, validation=["a.npz"]), data)


def test_a_copy_of_a_training_slice_under_another_name_is_refused(data: Path) -> None:
    with np.load(data / "a.npz") as archive:
        copied = archive["hu"][2:3]
    np.savez(data / "b.npz", hu=copied, patient=["other"], pixel_spacing_mm=np.ones(1))
    with pytest.raises(MedscoreError, match="a slice of a in data is equal to one of b in valid"):
        training.prepare(write(data, validation=["b.npz"]), data)


def test_archives_without_pixel_sizes_are_refused(data: Path) -> None:
    np.savez(data / "a.npz", hu=np.random.default_rng(0).uniform(-1000, 1500, (2, 16, 16)),
             patient=["a", "b"])  # fmt: skip
    with pytest.raises(MedscoreError, match="none of the training files states its pixel size"):
        training.prepare(write(data), data)


def toy_run(tmp_path: Path, spike_at: int = 0) -> training.TrainingRun[NetworkPrior]:
    """A run of the tiny network of the loop's tests; its gradient jumps at one step."""
    (tmp_path / "recipe.yaml").write_text("name: toy")
    calls: list[int] = []

    def jump(model: NetworkPrior, x0: Tensor, u: Tensor, z: Tensor) -> Tensor:
        calls.append(1)
        return OBJECTIVE(model, x0, u, z) * (10 * SPIKE if len(calls) == spike_at else 1)

    origin = Provenance(data="", patients=0, slices=0, steps=1, seed=0, licence="CC0")
    contract = DataContract(
        name="toy", modality="CT", quantity="HU", low=0, high=1, size=8, spacing_mm=(1.0, 1.0),
        data_mean=0.0, data_std=0.5, sde=VESpec(), network=NETWORK, provenance=origin,
    )  # fmt: skip
    held_out = stripes(torch.Generator().manual_seed(1), slice(None))
    return training.TrainingRun(
        recipe=tmp_path / "recipe.yaml", plan=replace(PLAN, steps=12, sample_every=6),
        data=TrainingData(stripes, held_out, origin, {"images": "stripes"}), model=prior(),
        objective=jump, contract=contract, file=PRIOR, describe=lambda: "toy",
        samples=lambda model, path: path.write_text(type(model).__name__) and None,
        identity={"prior": "none"},
    )  # fmt: skip


def test_warnings_are_in_the_result_and_samples_in_their_folder(tmp_path: Path) -> None:
    result = training.execute(toy_run(tmp_path, spike_at=9), tmp_path / "run")
    (warning,) = result.warnings
    assert warning.startswith("step 9: the gradient's norm is")
    pictures = {p.name: p.read_text() for p in (tmp_path / "run" / "samples").iterdir()}
    assert pictures == {"0000006.png": "NetworkPrior", "0000012.png": "NetworkPrior"}
    assert (tmp_path / "run" / "recipe.yaml").read_text() == "name: toy"


@pytest.mark.parametrize("name", ["images", "prior"])
def test_a_state_with_another_identity_is_refused(tmp_path: Path, name: str) -> None:
    run = toy_run(tmp_path)
    training.execute(run, tmp_path / "run")
    other = replace(run, identity={"prior": "other"})
    if name == "images":
        other = replace(run, data=replace(run.data, identity={"images": "other"}))
    with pytest.raises(MedscoreError, match=f"from another run: {name} .*, here other"):
        training.execute(other, tmp_path / "run")


def test_the_validation_loss_is_that_of_the_held_out_images(tmp_path: Path) -> None:
    run = toy_run(tmp_path)
    assert run.validation is not None
    expected = training.Validation(run.data.validation, OBJECTIVE, batch=PLAN.batch)
    assert run.validation(run.model) == expected(run.model)
    assert replace(run, data=replace(run.data, validation=None)).validation is None

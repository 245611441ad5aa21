"""Training at native resolution: a tiny recipe trains, resumes to equal bits, and is loaded."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from interrupted import resumes_to_equal_bits
from local_networks import write_prior
from PIL import Image

from medscore import training
from medscore.errors import MedscoreError
from medscore.nets.local_unet import LocalUNetSpec
from medscore.priors.checkpoint import load_prior, read_checkpoint
from medscore.training.sized_validation import SizedValidation

RECIPE: dict[str, Any] = {
    "name": "any", "modality": "CT", "quantity": "HU", "low": -1000, "high": 1500,
    "licence": "CC0", "sources": [{"files": ["a.npz"], "weight": 2.0}, {"files": ["b.npz"]}],
    "validation": ["v.npz"], "validation_sizes": [8, 16, 64],
    "crops": {"sizes": [8, 12], "pixel_mm": [0.5, 2.0]},
    "sde": {"kind": "ve", "sigma_max": 10.0},
    "network": {"kind": "local-unet", "channels": [8, 8], "blocks": [1, 1], "fold": 1},
    "plan": {
        "steps": 3, "batch": 2, "save_every": 1, "validate_every": 3, "log_every": 1, "seed": 1,
    },
}  # fmt: skip

FIRST_CROPS = [
    [0.4897112, -0.5108256, 0.0108, 0.0036], [0.4546715, 0.4468112, -0.0009002, -3.8e-06],
]  # fmt: skip
"""Mean of the image and of each context map in the first two batches, as first released."""


def archive(path: Path, shape: tuple[int, ...], patients: str, spacing: float) -> None:
    generator = np.random.default_rng(len(patients) + shape[1])
    hu = generator.integers(-1000, 1500, shape).astype(np.int16)
    pixels = np.full(shape[0], spacing)
    np.savez(path, hu=hu, patient=list(patients), pixel_spacing_mm=pixels)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Slices of two sources with their own matrices, and one to validate on."""
    archive(tmp_path / "a.npz", (2, 20, 24), "pq", 0.6)
    archive(tmp_path / "b.npz", (1, 16, 16), "r", 1.0)
    archive(tmp_path / "v.npz", (2, 16, 18), "st", 0.8)
    return tmp_path


def write(root: Path, **changes: Any) -> Path:
    (root / "recipe.yaml").write_text(yaml.safe_dump(RECIPE | changes))
    return root / "recipe.yaml"


def test_a_recipe_trains_to_a_prior_for_any_matrix(data: Path) -> None:
    result = training.train(write(data), data, output=data / "run")
    assert result.remark == "3 slices of 3 patients"
    contract = read_checkpoint(result.path).contract
    assert contract.size is None
    assert json.loads(contract.model_dump_json())["size"] is None
    assert contract.spacing_mm == (0.5, 2.0)
    assert contract.provenance.patients == 3
    assert contract.provenance.data == "a.npz, b.npz"
    prior = load_prior(result.path).on_grid((15, 18), 0.7)
    t = torch.tensor([0.5])
    assert prior.denoise(torch.randn(1, 1, 15, 18), t).shape == (1, 1, 15, 18)
    lines = [json.loads(line) for line in (data / "run" / "loss.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert "validation" in lines[-1]


def test_an_interrupted_run_resumes_to_equal_bits(data: Path) -> None:
    recipe = write(data)
    again, whole = resumes_to_equal_bits(recipe, data, 2)
    assert read_checkpoint(again.path).contract == read_checkpoint(whole.path).contract
    logs = [(data / run / "loss.jsonl").read_text() for run in ("whole", "part")]
    assert logs[0] == logs[1]


def test_samples_are_drawn_on_the_grid_of_generated_images(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medscore.priors.contract.DEFAULT_SIDE", 8)
    run = training.prepare(write(data), data)
    assert run.samples is not None
    run.samples(run.model, data / "samples.png")
    with Image.open(data / "samples.png") as picture:
        assert min(picture.size) >= 4 * 8


def test_a_dequantizer_needs_a_prior_of_one_matrix_size(data: Path) -> None:
    prior = write_prior(data / "any.safetensors")
    (data / "noise.yaml").write_text(yaml.safe_dump({
        "name": "noise", "modality": "CT", "quantity": "HU", "low": -1000, "high": 1500,
        "size": 16, "data": ["a.npz"], "licence": "CC0", "dequantizes": str(prior),
        "flow": {"bits": 8}, "plan": {"steps": 1, "batch": 1},
    }))  # fmt: skip
    with pytest.raises(MedscoreError, match="prior any is for any matrix"):
        training.prepare(data / "noise.yaml", data)


def test_the_state_belongs_to_recipe_and_images_but_not_to_their_folder(data: Path) -> None:
    first = training.prepare(write(data), data).data.identity
    assert training.prepare(write(data, folder=str(data))).data.identity == first
    crops = {"sizes": [8], "pixel_mm": [0.5, 2.0]}
    other = training.prepare(write(data, crops=crops), data).data.identity
    assert {name for name in first if first[name] != other[name]} == {"recipe"}
    archive(data / "b.npz", (1, 18, 16), "r", 1.0)
    other = training.prepare(write(data), data).data.identity
    assert {name for name in first if first[name] != other[name]} == {"images"}


def test_the_contract_holds_the_statistics_of_the_slices(data: Path) -> None:
    """Each slice has the same weight, whatever its matrix."""
    run = training.prepare(write(data), data)
    contract = run.contract
    slices = [*np.load(data / "a.npz")["hu"], *np.load(data / "b.npz")["hu"]]
    scaled = [(hu.astype(float) + 1000) / 2500 for hu in slices]
    mean = np.mean([x.mean() for x in scaled])
    std = np.sqrt(np.mean([np.square(x).mean() for x in scaled]) - mean**2)
    assert contract.data_mean == pytest.approx(mean, abs=2e-4)
    assert contract.data_std == pytest.approx(std, abs=2e-4)


def test_the_validation_is_the_mean_over_the_sizes_that_slices_have(data: Path) -> None:
    run = training.prepare(write(data), data)
    sized = run.validation
    assert isinstance(sized, SizedValidation)
    assert {size: x.shape for size, x in sized.batches.items()} == {
        8: (2, 4, 8, 8), 16: (2, 4, 16, 16),
    }  # fmt: skip
    torch.testing.assert_close(
        sized.batches[8][0, 1].float(), torch.full((8, 8), float(np.log(1.6))),
        rtol=1e-3, atol=0,
    )  # fmt: skip
    losses = sized.losses(run.model)
    assert run.validation is not None
    assert run.validation(run.model) == pytest.approx(sum(losses.values()) / 2)
    assert sized.losses(run.model) == losses
    with torch.no_grad():
        torch.nn.init.normal_(run.model.network.last.weight)
    assert run.validation(run.model) > 1.5 * sum(losses.values()) / 2


def test_a_patient_in_sources_and_in_validation_is_refused(data: Path) -> None:
    archive(data / "v.npz", (2, 16, 16), "sq", 0.8)
    with pytest.raises(MedscoreError, match="patient q is in sources and in validation"):
        training.prepare(write(data), data)


def test_other_patterns_replace_the_sources_and_the_validation(data: Path) -> None:
    run = training.prepare(write(data), data, patterns=["b.npz"])
    assert run.remark == "1 slices of 1 patients"
    assert run.validation is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"low": 2000}, "low 2000.0 must be below high"),
        ({"crops": {"sizes": [9]}}, "size 9 must be a multiple of 2"),
        ({"validation_sizes": [64]}, "no validation slice has 64 x 64 pixels"),
        ({"sources": []}, "sources"),
        ({"modality": "MR"}, "the quantity of MR images cannot be HU"),
        ({"network": {"kind": "unet"}}, "local-unet"),
    ],
)
def test_an_invalid_recipe_is_refused(data: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(MedscoreError, match=words) as refused:
        training.prepare(write(data, **changes), data)
    assert "\n" not in str(refused.value)


def test_recipes_of_one_size_refuse_a_network_that_needs_the_pixel_size(data: Path) -> None:
    network = LocalUNetSpec(channels=(8, 8), blocks=(1, 1)).model_dump(mode="json")
    (data / "one.yaml").write_text(yaml.safe_dump({
        "name": "one", "modality": "CT", "quantity": "HU", "low": -1000, "high": 1500,
        "size": 16, "data": ["a.npz"], "licence": "CC0", "sde": RECIPE["sde"],
        "network": network, "plan": RECIPE["plan"],
    }))  # fmt: skip
    with pytest.raises(MedscoreError, match="network local-unet needs the pixel size"):
        training.prepare(data / "one.yaml", data)


def test_the_shipped_recipe_is_valid() -> None:
    from medscore.io.configs import config_path
    from medscore.training.native_recipe import NativeRecipe
    from medscore.training.recipe import read_recipe

    recipe = read_recipe(config_path("ct", "train"), NativeRecipe)
    assert recipe.network.receptive_field == 460
    assert recipe.crops.pixel_mm == (0.4, 3.0)


def test_the_identity_of_ct_recipes_stays_that_of_earlier_versions(data: Path) -> None:
    """Saved states stay valid when keys are added to the recipe: these hashes must not change."""
    from medscore.io.configs import config_path
    from medscore.training.identity import identity_of
    from medscore.training.native_recipe import NativeRecipe
    from medscore.training.recipe import read_recipe

    assert training.prepare(write(data), data).data.identity == {
        "recipe": "9898558a1f95", "seed": "1", "batch": "2", "images": "9ece3e82828c",
    }  # fmt: skip
    shipped = read_recipe(config_path("ct", "train"), NativeRecipe)
    assert identity_of(shipped, [])["recipe"] == "c57b173013a7"


def test_the_crops_of_ct_recipes_stay_those_of_earlier_versions(data: Path) -> None:
    """The draws of the first batches: class, gain and phase take no random numbers unasked."""
    batch, generator = training.prepare(write(data), data).data.batch, torch.Generator()
    generator.manual_seed(3)
    found = [batch(generator, slice(0, 2)).double().mean(dim=(0, 2, 3)) for _ in range(2)]
    expected = torch.tensor(FIRST_CROPS, dtype=torch.float64)
    torch.testing.assert_close(torch.stack(found), expected, rtol=0, atol=1e-5)

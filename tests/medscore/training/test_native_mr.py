"""Training of MR priors for any matrix: complex images, magnitudes, and contrasts as classes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from interrupted import resumes_to_equal_bits

from medscore import training
from medscore.errors import MedscoreError
from medscore.priors.checkpoint import load_prior, read_checkpoint
from medscore.training.native import PlacedLoss
from medscore.training.sized_validation import SizedValidation

NETWORK = {
    "kind": "local-unet", "channels": [8, 8], "blocks": [1, 1], "fold": 1,
    "classes": ["T1", "T2"], "image_channels": 2,
}  # fmt: skip
MAGNITUDE: dict[str, Any] = {"quantity": "magnitude", "network": NETWORK | {"image_channels": 1}}
RECIPE: dict[str, Any] = {
    "name": "any", "modality": "MR", "quantity": "complex", "low": 0, "high": 1,
    "licence": "CC0", "sources": [{"files": ["a.npz"]}, {"files": ["b.npz"], "contrast": "T2"}],
    "validation": ["v.npz"], "validation_sizes": [8, 16], "pixel_mm": 0.9,
    "crops": {"sizes": [8, 12], "pixel_mm": [0.5, 2.0], "gain": [0.7, 1.4]},
    "sde": {"kind": "ve", "sigma_max": 10.0}, "network": NETWORK,
    "plan": {
        "steps": 2, "batch": 3, "save_every": 1, "validate_every": 2, "log_every": 1, "seed": 1,
    },
}  # fmt: skip


def archive(path: Path, shape: tuple[int, ...], patients: str, **more: Any) -> None:
    generator = np.random.default_rng(len(patients) + shape[1])
    values = generator.integers(0, 900, shape).astype(np.uint16)
    np.savez(path, image=values, patient=list(patients), **more)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Slices that state their contrasts, others that do not, and some to validate on."""
    archive(tmp_path / "a.npz", (3, 20, 24), "pqq", contrast=["T1 axial", "T2", "DWI"])
    archive(tmp_path / "b.npz", (1, 16, 16), "r", pixel_spacing_mm=np.ones(1))
    archive(tmp_path / "v.npz", (2, 16, 18), "st", contrast=["T2", "T1"])
    return tmp_path


def write(root: Path, **changes: Any) -> Path:
    (root / "recipe.yaml").write_text(yaml.safe_dump(RECIPE | changes))
    return root / "recipe.yaml"


@pytest.mark.parametrize("changes", [{}, MAGNITUDE], ids=["complex", "magnitude"])
def test_a_run_of_two_steps_resumes_to_equal_bits(data: Path, changes: dict[str, Any]) -> None:
    recipe = write(data, **changes)
    _, whole = resumes_to_equal_bits(recipe, data, 1)
    contract = read_checkpoint(whole.path).contract
    channels = 1 if changes else 2
    assert (contract.size, contract.classes) == (None, ("T1", "T2"))
    assert contract.channels == channels
    prior = load_prior(whole.path).on_grid((15, 18), 0.7).of_class("T2")
    x = torch.randn(1, channels, 15, 18)
    assert prior.denoise(x, torch.tensor([0.5])).shape == x.shape


def test_a_batch_has_two_channels_and_the_class_behind_the_maps(data: Path) -> None:
    run = training.prepare(write(data, class_dropout=0.0), data)
    batch = run.data.batch(torch.Generator().manual_seed(0), slice(0, 3))
    assert batch.shape[:2] == (3, 6)
    assert set(batch[:, 5, 0, 0].tolist()) <= {0.0, 1.0, 2.0}
    assert isinstance(run.objective, PlacedLoss)
    assert run.objective.channels == 2


def test_complex_images_have_no_mean_and_half_the_power_in_each_part(data: Path) -> None:
    complex_, magnitude = (
        training.prepare(write(data, **changes), data).contract for changes in ({}, MAGNITUDE)
    )
    assert complex_.data_mean == 0
    power = magnitude.data_mean**2 + magnitude.data_std**2
    assert complex_.data_std == pytest.approx((power / 2) ** 0.5, abs=2e-4)


def test_the_validation_has_fixed_phases_and_the_classes_of_its_slices(data: Path) -> None:
    sized = training.prepare(write(data), data).validation
    again = training.prepare(write(data), data).validation
    plain = training.prepare(write(data, **MAGNITUDE), data).validation
    assert isinstance(sized, SizedValidation)
    assert isinstance(again, SizedValidation)
    assert isinstance(plain, SizedValidation)
    assert {size: x.shape for size, x in sized.batches.items()} == {
        8: (2, 6, 8, 8), 16: (2, 6, 16, 16),
    }  # fmt: skip
    assert sized.batches[16][:, 5, 0, 0].tolist() == [2, 1]
    assert torch.equal(sized.batches[8], again.batches[8])
    own = sized.batches[16].float()
    torch.testing.assert_close(
        own[:, :2].norm(dim=1), plain.batches[16][:, 0].float(), rtol=0, atol=2e-3
    )
    assert float(sized.batches[8][:, 5].float().min()) >= 1


def test_other_labels_are_other_training_data(data: Path) -> None:
    first = training.prepare(write(data), data).data.identity
    archive(data / "a.npz", (3, 20, 24), "pqq", contrast=["T1", "T1", "DWI"])
    other = training.prepare(write(data), data).data.identity
    assert {name for name in first if first[name] != other[name]} == {"images"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sources": [{"files": ["a.npz"], "contrast": "PD"}]}, "contrast 'PD' is not among"),
        ({"sources": [{"files": ["b.npz"]}]}, "the contrast of b.npz is not known"),
        ({"sources": [{"files": ["b.npz"], "contrast": "T1"}]}, "no slice has the contrast T2"),
        ({"network": NETWORK | {"classes": []}}, "contrast 'T2' without network.classes"),
        ({"network": NETWORK | {"classes": ["T1", "none"]}}, "must differ"),
        ({"network": NETWORK | {"image_channels": 1}}, "complex images have 2 channels"),
        ({"quantity": "magnitude"}, "magnitude images have 1 channels"),
        ({"low": -1}, "low of complex images must be 0"),
        ({"modality": "CT", **MAGNITUDE, "quantity": "HU"}, "CT images have no contrast"),
        ({"modality": "CT"}, "the quantity of CT images cannot be complex"),
        ({"class_dropout": 1.0}, "class_dropout"),
        ({"pixel_mm": 0}, "pixel_mm"),
        ({"crops": {"sizes": [8], "gain": [1.2, 0.8]}}, "gain"),
    ],
)
def test_an_invalid_recipe_is_refused_in_one_line(
    data: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(MedscoreError, match=words) as refused:
        training.prepare(write(data, **changes), data)
    assert "\n" not in str(refused.value)
    assert "recipe.yaml" in str(refused.value)


def test_sources_of_unknown_contrast_are_used_where_the_recipe_says_so(data: Path) -> None:
    sources = [{"files": ["a.npz"]}, {"files": ["b.npz"], "contrast": "none"}]
    run = training.prepare(write(data, sources=sources), data)
    assert run.remark == "4 slices of 3 patients"


@pytest.mark.parametrize("name", ["mri", "mri-magnitude"])
def test_the_shipped_recipes_are_of_four_contrasts(name: str) -> None:
    from medscore.io.configs import config_path
    from medscore.training.native_recipe import NativeRecipe
    from medscore.training.recipe import read_recipe

    recipe = read_recipe(config_path(name, "train"), NativeRecipe)
    assert recipe.network.classes == ("T1", "T2", "FLAIR", "PD")
    assert recipe.channels == (2 if name == "mri" else 1)
    assert "CC BY-NC-SA 4.0" in recipe.licence

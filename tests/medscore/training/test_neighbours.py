"""Training a 2.5-D network beside a prior, from the recipe to reconstructions of volumes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml
from interrupted import resumes_to_equal_bits
from local_networks import COMPLEX, write_prior

import medscore as ms
from medscore import training
from medscore.datasets.volume import Source
from medscore.errors import MedscoreError
from medscore.priors.file_names import neighbours_path
from medscore.priors.neighbours_file import NEIGHBOURS

PLAN = {"steps": 3, "batch": 2, "save_every": 1, "validate_every": 3, "log_every": 1}


def save(path: Path, slices: int = 6, slice_mm: float = 2.0) -> None:
    z, y, x = np.mgrid[-1 : 1 : slices * 1j, -1:1:16j, -1:1:16j]
    values = np.where(x**2 + y**2 + 0.2 * z**2 < 0.7, 40 + 200 * (x > 0.1), -1000)
    affine = np.diag([-0.8, -0.8, slice_mm, 1.0])
    nib.save(nib.Nifti1Image(values.T.astype(np.int16), affine), path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A prior for any matrix, and volumes of two patients."""
    for name in ("anna", "bert"):
        save(tmp_path / f"{name}.nii.gz")
    write_prior(tmp_path / "any.safetensors")
    return tmp_path


def recipe(folder: Path, **changes: Any) -> Path:
    content = {
        "name": "any.neighbours", "licence": "CC0", "body": str(folder / "any.safetensors"),
        "volumes": ["anna.nii.gz"], "validation": ["bert.nii.gz"], "plan": PLAN,
        "stacks": {"size": 8, "slices": 4}, "network": {"reach": 1, "width": 8, "blocks": 1},
    }  # fmt: skip
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content | changes))
    return folder / "recipe.yaml"


def trained(folder: Path) -> Path:
    """The prior, with the network that was trained beside it."""
    result = training.train(recipe(folder), folder, output=folder / "run")
    shutil.copy(result.path, neighbours_path(folder / "any.safetensors"))
    return folder / "any.safetensors"


def scan(slice_mm: float = 2.0, slices: int = 4) -> Any:
    z, y, x = np.mgrid[-1 : 1 : slices * 1j, -1:1:16j, -1:1:16j]
    values = np.where(x**2 + y**2 < 0.7 + 0.1 * z, 40.0, -1000.0).astype(np.float32)
    affine = np.diag([-0.8, -0.8, slice_mm, 1.0])
    image = ms.Volume(values, affine, "CT", Source("array", "ab" * 32))
    return ms.simulate(image, "sparse-ct", views=8, noise="poisson:1e5")


def test_a_recipe_trains_a_network_that_is_found_beside_its_prior(folder: Path) -> None:
    prior = trained(folder)
    contract = NEIGHBOURS.read(neighbours_path(prior)).contract
    assert contract.slice_mm == (2.0, 2.0)
    assert (contract.provenance.patients, contract.provenance.slices) == (1, 6)
    lines = [json.loads(s) for s in (folder / "run" / "loss.jsonl").read_text().splitlines()]
    assert len(lines) == 3
    assert 0 < lines[-1]["validation"] < 2


def test_an_interrupted_training_resumes_to_equal_bits(folder: Path) -> None:
    resumes_to_equal_bits(recipe(folder), folder, 2)


@pytest.mark.slow
def test_volumes_are_coupled_by_it_by_default_and_records_say_so(folder: Path) -> None:
    prior = str(folder / "any.safetensors")
    before = ms.reconstruct(scan(), prior, steps=3)
    assert before.record["settings"]["across_slices"] == "tv"
    trained(folder)
    found = ms.reconstruct(scan(), prior, steps=3)
    assert found.record["settings"]["across_slices"] == "2.5d"
    own = NEIGHBOURS.read(neighbours_path(prior)).sha256
    assert found.record["prior"]["neighbours_sha256"] == own
    assert not np.allclose(found.mean, before.mean, atol=1.0)
    asked = ms.reconstruct(scan(), prior, steps=3, across_slices="2.5d", batch_size=1)
    np.testing.assert_allclose(asked.mean, found.mean, atol=0.1)
    alone = ms.reconstruct(scan(), prior, steps=3, across_slices="none")
    assert "neighbours_sha256" not in alone.record["prior"]


@pytest.mark.slow
def test_it_is_not_the_default_of_volumes_that_are_scanned_whole(folder: Path) -> None:
    prior = str(trained(folder))
    z, y, x = np.mgrid[-1:1:4j, -1:1:16j, -1:1:16j]
    values = np.where(x**2 + y**2 < 0.7 + 0.1 * z, 40.0, -1000.0).astype(np.float32)
    image = ms.Volume(values, np.diag([-0.8, -0.8, 2.0, 1.0]), "CT", Source("array", "ab" * 32))
    cone = ms.simulate(image, "cone-ct", views=4)
    found = ms.reconstruct(cone, prior, steps=2)
    assert found.record["settings"]["across_slices"] == "tv"
    asked = ms.reconstruct(cone, prior, steps=2, across_slices="2.5d")
    assert asked.record["settings"]["across_slices"] == "2.5d"


@pytest.mark.slow
def test_it_is_not_the_default_of_slices_that_it_does_not_know(folder: Path) -> None:
    prior = str(trained(folder))
    far = ms.reconstruct(scan(slice_mm=4.0), prior, steps=3)
    assert far.record["settings"]["across_slices"] == "tv"
    why = "the slices are 4 mm apart, and the 2.5-D network of the prior any knows slices 2 to 2 mm"
    with pytest.raises(MedscoreError, match=why):
        ms.reconstruct(scan(slice_mm=4.0), prior, steps=3, across_slices="2.5d")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"validation": ["anna.nii.gz"]}, "patient anna is in volumes and in validation"),
        ({"stacks": {"size": 8, "slices": 2}}, "stacks.slices must be 3 or more"),
        ({"stacks": {"size": 8, "slices": 7}}, "it has 6 slices, and stacks have 7"),
        ({"volumes": ["carl.nii.gz"]}, "carl"),
        ({"network": {"reach": 0}}, "network.reach"),
        ({"log_ratio_std": 0}, "log_ratio_std"),
    ],
)
def test_recipes_that_cannot_be_used_are_refused(
    changes: dict[str, Any], why: str, folder: Path
) -> None:
    with pytest.raises(MedscoreError, match=why) as caught:
        training.prepare(recipe(folder, **changes), folder)
    assert "\n" not in str(caught.value)


def test_a_prior_of_other_images_is_refused(folder: Path) -> None:
    write_prior(folder / "any.safetensors", **COMPLEX)
    with pytest.raises(MedscoreError, match="prior any is not one of CT slices of any matrix"):
        training.prepare(recipe(folder), folder)

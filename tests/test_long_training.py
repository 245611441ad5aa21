"""A prior that is trained in parts: stored at the end of each, and continued from there."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from scripts import script

from medscore import training
from medscore.errors import MedscoreError
from medscore.priors.checkpoint import read_checkpoint

RECIPE: dict[str, Any] = {
    "name": "any", "modality": "CT", "quantity": "HU", "low": -1000, "high": 1500,
    "licence": "CC0", "sources": [{"files": ["a.npz"]}], "crops": {"sizes": [8]},
    "sde": {"kind": "ve", "sigma_max": 10.0},
    "network": {"kind": "local-unet", "channels": [8, 8], "blocks": [1, 1], "fold": 1},
}  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    hu = np.random.default_rng(0).integers(-1000, 1500, (2, 16, 16)).astype(np.int16)
    np.savez(tmp_path / "a.npz", hu=hu, patient=["p", "q"], pixel_spacing_mm=[0.6, 0.6])
    return tmp_path


def recipe(root: Path, steps: int, *restarts: int) -> Path:
    plan = {"steps": steps, "batch": 2, "restarts": list(restarts), "save_every": 1, "log_every": 1}
    (root / "recipe.yaml").write_text(yaml.safe_dump(RECIPE | {"plan": plan}))
    return root / "recipe.yaml"


def test_training_continues_from_what_was_stored(data: Path) -> None:
    """Weights, steps and log go on; the second part changes the weights, and is stored in turn."""
    parts, shelf = script("long_training"), data / "priors"
    shelf.mkdir()
    first = training.train(recipe(data, 3), data, output=data / "one")
    parts.store(training.prepare(recipe(data, 3), data), data / "one", shelf)
    assert (shelf / "any.safetensors").read_bytes() == first.path.read_bytes()

    longer = recipe(data, 5, 3)
    parts.continue_from(training.prepare(longer, data), shelf / "any.safetensors", data / "two")
    second = training.train(longer, data, output=data / "two")
    log = (data / "two" / "loss.jsonl").read_text()
    assert [json.loads(line)["step"] for line in log.splitlines()] == [1, 2, 3, 4, 5]
    assert log.startswith((data / "one" / "loss.jsonl").read_text())
    stored = parts.store(training.prepare(longer, data), data / "two", shelf)
    assert stored.with_suffix(".yaml").read_bytes() == longer.read_bytes()
    assert read_checkpoint(stored).contract.provenance.steps == 5
    one, two = (read_checkpoint(p).weights for p in (first.path, second.path))
    assert any(not torch.equal(one[name], two[name]) for name in one)


def test_the_first_step_of_a_part_starts_at_the_stored_weights(data: Path) -> None:
    parts = script("long_training")
    first = training.train(recipe(data, 3), data, output=data / "one")
    first.path.with_suffix(".jsonl").write_bytes((data / "one" / "loss.jsonl").read_bytes())
    parts.continue_from(training.prepare(recipe(data, 4, 3), data), first.path, data / "two")
    halted = yaml.safe_load(recipe(data, 4, 3).read_text())
    halted["plan"]["learning_rate"] = 1e-30
    (data / "recipe.yaml").write_text(yaml.safe_dump(halted))
    again = training.train(data / "recipe.yaml", data, output=data / "two")
    one, two = (read_checkpoint(p).weights for p in (first.path, again.path))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    ("steps", "restarts", "said"),
    [(3, (), "set more than 3 steps"), (5, (), "list 3 in restarts"), (5, (2,), "list 3")],
)
def test_a_recipe_that_does_not_continue_the_prior_is_refused(
    data: Path, steps: int, restarts: tuple[int, ...], said: str
) -> None:
    first = training.train(recipe(data, 3), data, output=data / "one")
    run = training.prepare(recipe(data, steps, *restarts), data)
    with pytest.raises(MedscoreError, match=said):
        script("long_training").continue_from(run, first.path, data / "two")
    assert not (data / "two").exists()


def test_an_unfinished_run_is_not_stored(data: Path) -> None:
    training.train(recipe(data, 3), data, output=data / "one")
    run = training.prepare(recipe(data, 4), data)
    with pytest.raises(MedscoreError, match="has 3 of 4 steps"):
        script("long_training").store(run, data / "one", data)


def test_a_run_is_not_overwritten(data: Path) -> None:
    first = training.train(recipe(data, 3), data, output=data / "one")
    run = training.prepare(recipe(data, 5, 3), data)
    with pytest.raises(MedscoreError, match="holds a training run"):
        script("long_training").continue_from(run, first.path, data / "one")

"""``medscore priors``: the shipped priors, their contracts, and their integrity."""

import json
from collections.abc import Callable
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from medscore.io.specs import Strict, validated
from medscore.io.weights import WeightsFile
from medscore.io.yaml_files import read_yaml
from medscore.priors import catalogue
from medscore.priors.catalogue import prior_folder, shipped_priors
from medscore.priors.checkpoint import load_prior, read_checkpoint, verify
from medscore.priors.covariance_file import COVARIANCE
from medscore.priors.file_names import HEAD, NEIGHBOURS as NEIGHBOURS_ENDING, head_path, prior_files
from medscore.priors.neighbours_file import NEIGHBOURS
from medscore.reconstruction.condition import method_of
from medscore.registry.settings import Settings
from medscore.training.classifier import ClassifierRecipe
from medscore.training.dequantizer import DequantizerRecipe
from medscore.training.head import HeadRecipe
from medscore.training.native_recipe import NativeRecipe
from medscore.training.neighbours import NeighboursRecipe
from medscore.training.pictures import PictureRecipe
from medscore.training.recipe import PriorRecipe
from medscore.uncertainty.table import table_beside

Command = Callable[..., Any]
Refused = Callable[..., str]
MakePrior = Callable[..., Path]
RECIPES = Path(__file__).resolve().parents[2] / "configs" / "train"


@pytest.fixture
def shelf(prior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped priors that contains only the tiny prior."""
    (tmp_path / "tiny.safetensors").write_bytes(prior.read_bytes())
    monkeypatch.setattr(catalogue, "prior_folder", lambda: tmp_path)
    return tmp_path


def test_the_list_names_every_shipped_prior(done: Command, shelf: Path) -> None:
    out = done("priors", "list").out
    assert all(word in out for word in ("tiny", "CT", "32x32", "HU", "ve"))


def test_what_is_needed_to_rebuild_a_shipped_prior_lies_beside_it() -> None:
    """The recipe is that of the training run, and the loss log ends with its last step."""
    for path in prior_files(prior_folder()):
        contract, recipe = read_checkpoint(path).contract, path.with_suffix(".yaml").read_bytes()
        assert sha256(recipe).hexdigest() == contract.provenance.config_sha256
        shipped = resources.files("medscore.configs") / "train" / f"{path.stem}.yaml"
        assert shipped.read_bytes() == recipe
        last = path.with_suffix(".jsonl").read_text().splitlines()[-1]
        assert json.loads(last)["step"] == contract.provenance.steps


@pytest.mark.parametrize(
    ("ending", "file", "bodies", "largest"),
    [
        (HEAD, COVARIANCE, {"ct-128", "mri-128"}, 1e5),
        (NEIGHBOURS_ENDING, NEIGHBOURS, {"ct"}, 5e5),
    ],
)
def test_what_is_shipped_beside_a_prior_belongs_to_it_and_can_be_rebuilt(
    ending: str, file: WeightsFile[Any], bodies: set[str], largest: float
) -> None:
    """Its recipe and the loss log lie beside it, and it is small beside the prior."""
    found = {path.name.removesuffix(ending) for path in prior_folder().glob(f"*{ending}")}
    assert found == bodies
    for body in bodies:
        path = prior_folder() / f"{body}{ending}"
        contract = file.read(path).contract
        assert contract.body == body
        assert contract.body_sha256 == read_checkpoint(shipped_priors()[body]).sha256
        recipe = path.with_suffix(".yaml").read_bytes()
        assert sha256(recipe).hexdigest() == contract.provenance.config_sha256
        shipped = (
            resources.files("medscore.configs")
            / "train"
            / f"{contract.name.replace('.', '-')}.yaml"
        )
        assert shipped.read_bytes() == recipe
        last = path.with_suffix(".jsonl").read_text().splitlines()[-1]
        assert json.loads(last)["step"] == contract.provenance.steps
        assert path.stat().st_size <= largest
        prior = load_prior(shipped_priors()[body])
        assert prior.has_covariance if ending == HEAD else prior.neighbours is not None


@pytest.mark.parametrize(
    ("prior", "modality", "families", "patients"),
    [
        ("ct-128", "CT", {"23 views", "45 views", "low dose", "MAR"}, 11),
        ("mri-128", "MR", {"4x", "8x"}, 10),
    ],
)
def test_a_shipped_calibration_is_of_the_default_and_of_these_weights(
    prior: str, modality: str, families: set[str], patients: int
) -> None:
    """A new default or new weights need a new calibration: `medscore calibrate calibrate-ct`."""
    path = shipped_priors()[prior]
    table = table_beside(path, read_checkpoint(path).sha256)
    assert table is not None
    assert table.covariance_sha256 == COVARIANCE.read(head_path(path)).sha256
    chosen = Settings(prior=prior, samples=8).settled(covariance=modality == "CT")
    settings = chosen.record()
    method = method_of({"settings": settings, "grid": {"fitted": False}, "prior": {}})
    assert {f.name for f in table.families} == families
    for family in table.families:
        assert family.method == method
        assert family.samples == 8
        assert len(family.patients) == patients


def test_every_shipped_prior_is_whole_small_and_has_a_card() -> None:
    """Each file is at most 24 MB and has a card with data, use, quality and memorisation."""
    shipped = shipped_priors()
    assert set(shipped) == {"ct", "ct-128", "ct-128-vp", "mri-128"}
    for name, path in shipped.items():
        assert verify(path).contract.name == name
        assert path.stat().st_size <= 24e6
        card = path.with_suffix(".md").read_text()
        for word in ("training data", "patients", "licence of the weights", "**Intended use.**",
                     "**Limits.**", "**Memorisation.**", "**Quality.**"):  # fmt: skip
            assert word in card, (name, word)
    assert "CC BY-NC-SA 4.0" in shipped["mri-128"].with_suffix(".LICENSE").read_text()


def keyed(path: Path) -> type[Strict]:
    """The kind of a training configuration, from its keys."""
    keys = set(read_yaml(path))
    if "classifies" in keys:
        return ClassifierRecipe
    if "pictures" in keys:
        return PictureRecipe
    if "sources" in keys:
        return NativeRecipe
    if "head" in keys:
        return HeadRecipe
    if "volumes" in keys:
        return NeighboursRecipe
    return DequantizerRecipe if "dequantizes" in keys else PriorRecipe


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_recipe_reads_and_its_network_takes_its_size(path: Path) -> None:
    recipe: Any = validated(keyed(path), read_yaml(path), path)
    if isinstance(recipe, HeadRecipe):  # the name of the file beside the prior's
        assert f"{recipe.body}.covariance" == recipe.name == path.stem.replace("-cov", ".cov")
        assert keyed(recipe.images_path(path)) in (NativeRecipe, PriorRecipe)
        return
    if isinstance(recipe, NeighboursRecipe):
        assert f"{recipe.body}.neighbours" == recipe.name == path.stem.replace("-neigh", ".neigh")
        return
    assert recipe.name == path.stem
    if not hasattr(recipe, "network"):
        return
    native = isinstance(recipe, NativeRecipe)
    channels = getattr(recipe, "channels", 1)
    size = max(recipe.crops.sizes) if native else recipe.size
    with torch.device("meta"):
        x = torch.zeros(1, channels + recipe.network.maps, size, size)
        network = recipe.network.build()
        assert network(x, torch.zeros(1)).shape == (1, channels, size, size)
    most = 24e6 if native else 32e6 if size == 256 else 16e6
    assert 2 * sum(p.numel() for p in network.parameters()) <= most


def test_a_shipped_prior_is_known_by_its_name(done: Command, shelf: Path) -> None:
    assert json.loads(done("priors", "info", "tiny").out)["name"] == "tiny"


def test_info_is_the_contract(done: Command, prior: Path) -> None:
    contract = read_checkpoint(prior).contract.model_dump(mode="json")
    shown = json.loads(done("priors", "info", prior).out)
    assert shown.pop("complex_data") is None  # of CT
    assert shown.pop("matrix") == "32 x 32"
    assert shown.pop("receptive_field") is None
    assert shown.pop("uses_position") is False
    assert shown.pop("classes") == []
    assert shown.pop("covariance") is None
    assert shown.pop("neighbours") is None
    assert shown == contract


def test_a_whole_prior_is_verified(done: Command, prior: Path) -> None:
    out = done("priors", "verify", prior).out
    assert out.endswith("intact\n")
    assert read_checkpoint(prior).sha256 in out


@pytest.mark.parametrize("command", ["info", "verify"])
def test_an_unknown_prior_is_refused_with_the_known_ones(
    refused: Refused, shelf: Path, command: str
) -> None:
    message = refused("priors", command, "none-such")
    assert "no prior 'none-such'" in message
    assert "tiny" in message


def test_altered_weights_are_refused(refused: Refused, prior: Path, tmp_path: Path) -> None:
    content = bytearray(prior.read_bytes())
    content[-2] ^= 1
    (tmp_path / "p.safetensors").write_bytes(content)
    assert "weights hash to" in refused("priors", "verify", tmp_path / "p.safetensors")


def test_weights_of_another_network_are_refused(
    refused: Refused, make_prior: MakePrior, tmp_path: Path
) -> None:
    path = make_prior(tmp_path / "p.safetensors")
    content = path.read_bytes()
    path.write_bytes(content.replace(rb"\"channels\":[16,16]", rb"\"channels\":[16,32]"))
    assert "weights do not fit" in refused("priors", "verify", path)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (rb"\"modality\":\"CT\"", rb"\"modality\":\"XX\"", "broken data contract"),
        (rb"\"data_std\":0.3", rb"\"data_std\":0.0", "broken data contract"),
        (rb"\"preprocessing\":1", rb"\"preprocessing\":2", "preprocessing version 2"),
        (b"medscore-prior-1", b"medscore-prior-9", "format is 'medscore-prior-9'"),
    ],
)
def test_another_contract_is_refused(
    refused: Refused, prior: Path, tmp_path: Path, old: bytes, new: bytes, why: str
) -> None:
    content = prior.read_bytes()
    assert old in content
    (tmp_path / "p.safetensors").write_bytes(content.replace(old, new))
    assert why in refused("priors", "info", tmp_path / "p.safetensors")


def test_a_foreign_safetensors_file_is_refused(refused: Refused, tmp_path: Path) -> None:
    save_file({"w": np.zeros(3, np.float32)}, tmp_path / "p.safetensors")
    assert load_file(tmp_path / "p.safetensors")
    assert "format is None" in refused("priors", "info", tmp_path / "p.safetensors")


def test_a_pickled_checkpoint_is_refused(refused: Refused, tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(3)}, tmp_path / "p.pt")
    assert "pickled ones are refused" in refused("priors", "info", tmp_path / "p.pt")


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.9])
def test_a_prior_cut_short_is_refused(
    refused: Refused, prior: Path, tmp_path: Path, kept: float
) -> None:
    content = prior.read_bytes()
    (tmp_path / "p.safetensors").write_bytes(content[: int(kept * len(content))])
    assert "not a safetensors file" in refused("priors", "verify", tmp_path / "p.safetensors")

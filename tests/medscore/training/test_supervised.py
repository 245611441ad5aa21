"""Supervised networks: their training pairs, their files, and their use as a method."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from medscore.datasets.volume import Source, Volume
from medscore.errors import MedscoreError
from medscore.measurements.simulation import simulate_scan
from medscore.measurements.spec import ScanSpec
from medscore.measurements.tasks import Choices, Grid, Scan
from medscore.nets.unet import UNetSpec
from medscore.priors.catalogue import shipped_priors
from medscore.priors.checkpoint import load_prior
from medscore.priors.contract import Provenance
from medscore.reconstruction.supervised.contract import (
    SUPERVISED,
    SupervisedContract,
    load_reconstructor,
)
from medscore.reconstruction.supervised.method import Supervised
from medscore.reconstruction.supervised.networks import PostProcessorSpec, Reconstructor
from medscore.registry.scans import build
from medscore.training.plan import TrainingPlan
from medscore.training.supervised import SupervisedRecipe, measured, prepare_supervised

MODEL = PostProcessorSpec(
    kind="post-processor", network=UNetSpec(channels=(8, 8), blocks=1, fold=2, groups=8)
)
RANGES = {"CT": ("HU", -1000.0, 1500.0), "MR": ("magnitude", 0.0, 1.0)}


def recipe(modality: str, scan: ScanSpec) -> SupervisedRecipe:
    quantity, low, high = RANGES[modality]
    return SupervisedRecipe.model_validate({
        "name": "tiny", "modality": modality, "quantity": quantity, "low": low, "high": high,
        "size": 16, "spacing_mm": 3.0, "scan": scan, "model": MODEL, "data": ["*"],
        "licence": "CC0", "plan": TrainingPlan(steps=1),
    })  # fmt: skip


def made(modality: str, scan: ScanSpec) -> tuple[SupervisedRecipe, Scan]:
    return recipe(modality, scan), build(scan, Grid(16, 16, 3.0, modality), Path("recipe.yaml"))


def images() -> Tensor:
    x = torch.zeros(2, 1, 16, 16)
    x[:, :, 3:13, 4:12] = 0.4
    x[1, :, 6:9, 6:9] = 0.7
    return x


U = torch.tensor([0.25, 0.75])


@pytest.mark.parametrize(
    ("modality", "scan"),
    [
        ("CT", ScanSpec(task="sparse-ct", views=9)),
        ("CT", ScanSpec(task="deblur", blur=1.0)),
        ("MR", ScanSpec(task="mri", acceleration=2)),
    ],
    ids=lambda v: v.task if isinstance(v, ScanSpec) else v,
)
def test_a_training_pair_is_an_image_and_its_measurement(modality: str, scan: ScanSpec) -> None:
    given, built = made(modality, scan)
    _, y, target = measured(given, built, images(), U)
    assert float(built.operator.residual(target, y).max()) < 1e-5


@pytest.mark.parametrize("maps", ["known", "low-resolution"])
def test_a_training_pair_of_a_complex_image_is_its_measurement_and_magnitude(maps: str) -> None:
    spec = ScanSpec(task="mri-multicoil", acceleration=1, phase="random", coils=3, maps=maps)
    given, built = made("MR", spec)
    operator, y, target = measured(given, built, images(), U)
    assert y.is_complex()
    image = operator.pinv(y).x
    assert image.is_complex()
    assert float((image.abs() - target).norm() / target.norm()) < (1e-3 if maps == "known" else 0.1)


def test_a_recipe_whose_network_does_not_fit_its_images_is_refused(tmp_path: Path) -> None:
    given = recipe("MR", ScanSpec(task="mri", phase="none"))
    two = given.model_dump(mode="json", exclude_defaults=True)
    two["model"] = {**two["model"], "network": {"kind": "unet", "image_channels": 2}}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(two))
    with pytest.raises(MedscoreError, match=r"r\.yaml: network tiny.*the images are real - use a"):
        prepare_supervised(tmp_path / "r.yaml", tmp_path)


def test_magnitudes_are_in_units_of_the_brightness_in_their_measurements() -> None:
    given, built = made("MR", ScanSpec(task="mri", acceleration=2))
    _, y, target = measured(given, built, images(), U)
    _, brighter, same = measured(given, built, 3 * images(), U)
    assert torch.allclose(y, brighter, atol=1e-5)
    assert torch.allclose(target, same, atol=1e-5)


def test_noise_is_seeded_by_the_draw() -> None:
    given, built = made("CT", ScanSpec(task="sparse-ct", views=9, noise="gaussian:0.1"))
    first, again = (measured(given, built, images(), U)[1] for _ in range(2))
    _, other, _ = measured(given, built, images(), U.flip(0))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def trained(tmp_path: Path, **changes: object) -> Path:
    low, high = RANGES["CT"][1:]
    contract = SupervisedContract.model_validate({
        "name": "tiny", "modality": "CT", "low": low, "high": high, "size": 16, "spacing_mm": 3.0,
        "scan": ScanSpec(task="sparse-ct"), "model": MODEL,
        "provenance": Provenance(data="", patients=1, slices=1, steps=1, seed=0, licence="CC0"),
        **changes,
    })  # fmt: skip
    torch.manual_seed(0)
    model: Reconstructor = MODEL.build()
    SUPERVISED.save(tmp_path / "net.safetensors", contract, model.network.state_dict())
    return tmp_path / "net.safetensors"


def measurement(size: int = 16):
    values = np.full((2, size, size), -1000, np.float32)
    values[:, 4:12, 4:12] = 30
    volume = Volume(values, np.diag([3.0, 3, 3, 1]), "CT", Source("array", "0" * 64))
    return simulate_scan(volume, "sparse-ct", Choices(views=9), noise_name="none", seed=0)


def test_a_saved_network_is_loaded_with_its_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    ours = MODEL.build().network.state_dict()
    model, contract = load_reconstructor(trained(tmp_path))
    assert contract.scan.task == "sparse-ct"
    for name, value in model.network.state_dict().items():
        assert torch.allclose(value, ours[name], rtol=1e-3, atol=1e-6)


def test_a_network_reconstructs_measurements(tmp_path: Path) -> None:
    m = measurement()
    found = Supervised(network=trained(tmp_path)).reconstruct(m)
    assert found.samples.shape == (2, 1, 16, 16)
    assert np.isfinite(found.samples).all()
    assert found.nfe == 0


@pytest.mark.parametrize(
    ("changes", "what"),
    [({"size": 32}, "matrix size"), ({"modality": "MR"}, "modality"), ({"high": 2000.0}, "range")],
    ids=["size", "modality", "range"],
)
def test_images_unlike_the_training_images_are_refused(
    tmp_path: Path, changes: dict[str, object], what: str
) -> None:
    with pytest.raises(MedscoreError, match=rf"{what} is .* for network tiny"):
        Supervised(network=trained(tmp_path, **changes)).reconstruct(measurement())


def test_priors_and_supervised_networks_are_not_confused(tmp_path: Path) -> None:
    with pytest.raises(MedscoreError, match="expected 'medscore-supervised-1'"):
        load_reconstructor(next(iter(shipped_priors().values())))
    with pytest.raises(MedscoreError, match="expected 'medscore-prior-1'"):
        load_prior(trained(tmp_path))


def test_a_damaged_network_is_refused(tmp_path: Path) -> None:
    path = trained(tmp_path)
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)
    with pytest.raises(MedscoreError, match="weights hash to"):
        load_reconstructor(path)

"""Training a learned covariance on the frozen network of a prior, from recipe to use."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from interrupted import resumes_to_equal_bits
from local_networks import SMALL, write_prior
from torch import Tensor, nn

from medscore import training
from medscore.datasets.load import load_image
from medscore.errors import MedscoreError
from medscore.measurements.simulation import simulate
from medscore.nets.covariance_head import head_spec
from medscore.nets.tiles import tiles
from medscore.objectives.second_order import SecondOrder
from medscore.priors.checkpoint import load_prior, save_prior
from medscore.priors.file_names import head_path
from medscore.priors.network import NetworkPrior
from medscore.priors.preconditioning import denoiser, ratio
from medscore.reconstruction.run import reconstruct
from medscore.sdes.linear import VE
from medscore.training.head import HeadLoss, HeadOnBody
from medscore.training.loop import train_steps
from medscore.training.plan import TrainingPlan
from medscore.uncertainty.blocks import BlockCovariance
from medscore.uncertainty.low_rank import DiagonalLowRank

IMAGES: dict[str, Any] = {
    "name": "images", "modality": "CT", "quantity": "HU", "low": -1000, "high": 1500,
    "licence": "CC0", "sources": [{"files": ["a.npz"]}], "validation": ["v.npz"],
    "validation_sizes": [8], "crops": {"sizes": [8, 12], "pixel_mm": [0.5, 2.0]},
    "sde": {"kind": "ve", "sigma_max": 10.0}, "network": SMALL.model_dump(),
    "plan": {"steps": 1},
}  # fmt: skip
PLAN = {"steps": 3, "batch": 2, "save_every": 1, "validate_every": 3, "log_every": 1}
T = torch.tensor([0.4, 0.7])


def archive(path: Path, patients: str) -> None:
    generator = np.random.default_rng(len(patients))
    hu = generator.integers(-1000, 1500, (len(patients), 20, 24)).astype(np.int16)
    np.savez(path, hu=hu, patient=list(patients), pixel_spacing_mm=np.full(len(patients), 0.6))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A prior for any matrix, slices, and the recipe that describes them."""
    archive(tmp_path / "a.npz", "pq")
    archive(tmp_path / "v.npz", "s")
    write_prior(tmp_path / "any.safetensors")
    (tmp_path / "images.yaml").write_text(yaml.safe_dump(IMAGES))
    return tmp_path


def recipe(folder: Path, **changes: Any) -> Path:
    content = {
        "name": "any.covariance", "licence": "CC0", "head": "covariance", "width": 8,
        "body": str(folder / "any.safetensors"), "images": "images.yaml", "plan": PLAN,
        "objective": {"kind": "second_order", "form": "low_rank", "rank": 2},
    }  # fmt: skip
    (folder / "head.yaml").write_text(yaml.safe_dump(content | changes))
    return folder / "head.yaml"


def trained(folder: Path, **changes: Any) -> NetworkPrior:
    """The prior, loaded with the head that was trained for it."""
    result = training.train(recipe(folder, **changes), folder, output=folder / "run")
    shutil.copy(result.path, head_path(folder / "any.safetensors"))
    return load_prior(folder / "any.safetensors")


def images(*shape: int) -> Tensor:
    return torch.randn(2, 1, *shape, generator=torch.Generator().manual_seed(3))


def test_a_recipe_trains_a_head_that_is_found_beside_its_prior(folder: Path) -> None:
    """The denoiser is bitwise that of the prior without a head, alone and with its covariance."""
    bare = load_prior(folder / "any.safetensors")
    assert not bare.has_covariance
    prior = trained(folder)
    assert prior.has_covariance
    lines = [json.loads(s) for s in (folder / "run" / "loss.jsonl").read_text().splitlines()]
    assert len(lines) == 3
    assert "validation" in lines[-1]
    x = images(15, 18)
    before = bare.on_grid((15, 18), 0.7).denoise(x, T)
    placed = prior.on_grid((15, 18), 0.7)
    denoised, covariance = placed.denoise_with_covariance(x, T)
    assert isinstance(covariance, DiagonalLowRank)
    assert torch.equal(placed.denoise(x, T), before)
    assert torch.equal(denoised, before)
    assert covariance.diagonal.shape == x.shape
    assert covariance.factors.shape == (2, 2, 1, 15, 18)
    assert bool((covariance.diagonal > 0).all())


def test_an_interrupted_training_of_a_head_resumes_to_equal_bits(folder: Path) -> None:
    resumes_to_equal_bits(recipe(folder), folder, 2)


def test_a_head_in_tiles_is_the_head_of_the_whole_image(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prior = trained(folder)
    x = images(200, 64)
    whole = prior.on_grid((200, 64), 0.7).denoise_with_covariance(x, T)
    monkeypatch.setattr("medscore.nets.any_size.memory_budget", lambda: 1)
    tiled = prior.on_grid((200, 64), 0.7)
    assert len(tiles((200, 64), 0, SMALL.stride, SMALL.margin)[0]) > 1
    found = tiled.denoise_with_covariance(x, T)
    torch.testing.assert_close(found[0], whole[0])
    assert isinstance(found[1], DiagonalLowRank)
    assert isinstance(whole[1], DiagonalLowRank)
    torch.testing.assert_close(found[1].diagonal, whole[1].diagonal)
    torch.testing.assert_close(found[1].factors, whole[1].factors, rtol=1e-4, atol=1e-5)


def test_a_head_of_blocks_in_tiles_and_on_padded_images(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prior = trained(folder, objective={"kind": "second_order", "form": "blocks"})
    x = images(198, 62)
    whole = prior.on_grid((198, 62), 0.7).denoise_with_covariance(x, T)[1]
    assert isinstance(whole, BlockCovariance)
    assert whole.marginal.shape == x.shape
    monkeypatch.setattr("medscore.nets.any_size.memory_budget", lambda: 1)
    tiled = prior.on_grid((198, 62), 0.7).denoise_with_covariance(x, T)[1]
    assert isinstance(tiled, BlockCovariance)
    torch.testing.assert_close(tiled.variances, whole.variances, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["low_rank", "blocks"])
def test_reconstructions_use_the_head_and_say_which(folder: Path, form: str) -> None:
    """Moment matching takes one evaluation a step with it; results and records differ."""
    hu = np.full((1, 16, 16), -1000.0, np.float32)
    hu[:, 4:12, 4:12] = 100
    nib.save(nib.Nifti1Image(hu.T, np.diag([-0.7, -0.7, 4, 1.0])), folder / "scan.nii.gz")
    measurement = simulate(load_image(folder / "scan.nii.gz"), "sparse-ct", views=8)

    def run(**parameters: Any) -> Any:
        return reconstruct(
            measurement, prior=str(folder / "any.safetensors"), conditioner="moment-matching",
            steps=3, precision="float32", parameters=parameters,
        )  # fmt: skip

    before = run()
    head = trained(folder, objective={"kind": "second_order", "form": form}).head
    assert head is not None
    learned = run()
    same = run(**{"conditioner.covariance": "denoiser"})
    assert learned.record["prior"]["covariance_sha256"] == head.sha256
    assert "covariance_sha256" not in before.record["prior"]
    assert np.array_equal(same.samples, before.samples)
    assert not np.allclose(learned.samples, before.samples)


def test_the_head_of_another_prior_is_refused_in_one_line(folder: Path) -> None:
    prior = trained(folder)
    contract = prior.contract
    assert contract is not None
    other = {name: 2 * value for name, value in prior.network.state_dict().items()}
    save_prior(folder / "any.safetensors", contract, other)
    with pytest.raises(MedscoreError, match=r"belongs to the prior any with the hash") as error:
        load_prior(folder / "any.safetensors")
    assert "\n" not in str(error.value)


def test_a_damaged_head_is_refused(folder: Path) -> None:
    trained(folder)
    path = head_path(folder / "any.safetensors")
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(MedscoreError, match="weights hash to"):
        load_prior(folder / "any.safetensors")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": {"kind": "second_order", "gamma": 1.0}}, "the body is not trained"),
        ({"objective": {"kind": "second_order", "rank": 2}}, "rank applies to form low_rank"),
        ({"objective": {"kind": "second_order", "antithetic": True}}, "antithetic needs residual"),
        (
            {"objective": {"kind": "second_order", "form": "blocks", "weighting": "level"}},
            "form blocks needs weighting prediction",
        ),
        ({"objective": {"kind": "edm"}}, "second_order"),
        ({"head": "variance"}, "covariance"),
        ({"images": "nothing.yaml"}, "no such configuration"),
        ({"body": "nobody"}, "no prior 'nobody'"),
    ],
)
def test_invalid_recipes_are_refused(folder: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(MedscoreError, match=message):
        training.prepare(recipe(folder, **changes), folder)


def test_images_of_another_range_than_the_prior_s_are_refused(folder: Path) -> None:
    (folder / "images.yaml").write_text(yaml.safe_dump(IMAGES | {"high": 2000}))
    with pytest.raises(MedscoreError, match=r"high is 2000.0, but 1500.0 in prior any"):
        training.prepare(recipe(folder), folder)


def test_a_prior_without_a_head_says_how_to_train_one(folder: Path) -> None:
    prior = load_prior(folder / "any.safetensors").on_grid((8, 8), 0.7)
    with pytest.raises(MedscoreError, match="the prior any has no learned covariance"):
        prior.denoise_with_covariance(images(8, 8), T)


class Scaled(nn.Module):
    """The exact denoiser of N(0, v I), as a network whose last layer is not known."""

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        return x * (0.09 / (0.09 + s**2))[:, None, None, None]


@pytest.mark.slow
@pytest.mark.parametrize(
    "objective",
    [
        SecondOrder(0.5, "diagonal"),
        SecondOrder(0.5),
        SecondOrder(0.5, "diagonal", "noise", "level"),
        SecondOrder(0.5, "blocks"),
    ],
    ids=["diagonal", "low rank", "Eq. 4.17", "blocks"],
)
def test_the_trained_variance_is_that_of_gaussian_data(
    objective: SecondOrder, tmp_path: Path
) -> None:
    """White data of deviation 0.3, where the head assumes 0.5: off by up to 2.8 before training.

    After it the variance of every noise level is within 10 % of v s^2 / (v + s^2).
    """
    prior = NetworkPrior(Scaled(), VE(0.01, 10.0), preconditioning=denoiser, condition=ratio)
    torch.manual_seed(0)
    rank, blocks = int(objective.form == "low_rank"), objective.form == "blocks"
    prior.head = head_spec(prior.network, 1, 0.5, rank, 8, blocks=blocks).build()
    plan = TrainingPlan(
        steps=250, batch=16, learning_rate=1e-2, warmup=10, cooldown=150, save_every=250
    )

    def batch(generator: torch.Generator, part: slice) -> Tensor:
        return 0.3 * torch.randn(16, 1, 8, 8, generator=generator)[part]

    levels = torch.tensor([0.1, 0.3, 1.0])
    x = torch.sqrt(0.09 + levels**2)[:, None, None, None] * torch.randn(
        3, 1, 16, 16, generator=torch.Generator().manual_seed(1)
    )
    exact = 0.09 * levels**2 / (0.09 + levels**2)

    def off() -> float:
        with torch.no_grad():
            found = prior.denoise_with_covariance(x, prior.sde.time(levels))[1].marginal.mean(
                (1, 2, 3)
            )
        return float((found / exact - 1).abs().max())

    assert off() > 1
    for _ in train_steps(HeadOnBody(prior), batch, HeadLoss(objective, 1), plan, tmp_path):
        pass
    assert off() < 0.1

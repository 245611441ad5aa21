"""MONAI's state dicts: the imported network computes the same, and others are refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign import (
    CONTRACT,
    DDPM,
    MONAI_2D,
    MONAI_3D,
    NOISE_LEVEL,
    contract_file,
    monai_network,
    rounded,
)

from medscore.errors import MedscoreError
from medscore.priors.checkpoint import load_prior, save_prior
from medscore.priors.importers import monai
from medscore.priors.importers.contract import (
    ImportContract,
    ImportedNetwork,
    assemble,
    read_contract,
)
from medscore.priors.importers.read import Source
from medscore.priors.network import NetworkPrior

USER = ImportContract.model_validate(CONTRACT | {"sde": DDPM, "prediction": NOISE_LEVEL})
OPTIONS: dict[str, Any] = {
    "resblock_updown": True, "use_combined_linear": True, "include_fc": False,
}  # fmt: skip
ONE_LEVEL: dict[str, Any] = {
    "channels": (8,), "attention_levels": (False,), "num_res_blocks": (2,), "num_head_channels": 2,
}  # fmt: skip
VARIANTS = [MONAI_2D, MONAI_3D, MONAI_2D | OPTIONS, MONAI_2D | ONE_LEVEL]
each_variant = pytest.mark.parametrize(
    "arguments", VARIANTS, ids=["2d", "3d", "options", "one level"]
)


def needed(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: arguments[name] for name in monai.NOT_IN_SHAPES}


def found(arguments: dict[str, Any], config: dict[str, Any] | None = None) -> ImportedNetwork:
    weights = monai_network(**arguments).state_dict()
    config = json.loads(json.dumps(needed(arguments) if config is None else config))
    return monai.map_checkpoint(Source(Path("w.pt"), weights, config), USER)


def loaded(tmp_path: Path, imported: ImportedNetwork) -> NetworkPrior:
    path, weights = contract_file(tmp_path / "c.yaml", sde=DDPM, prediction=NOISE_LEVEL), tmp_path
    (weights / "w.pt").write_bytes(b"")
    contract = assemble(read_contract(path), imported, Source(weights / "w.pt", {}), path)
    save_prior(tmp_path / "p.safetensors", contract, imported.weights)
    return load_prior(tmp_path / "p.safetensors")


def images(arguments: dict[str, Any]) -> torch.Tensor:
    shape = (3, 1, *(8,) * arguments["spatial_dims"])
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@each_variant
def test_the_imported_network_is_monais_exactly(arguments: dict[str, Any]) -> None:
    imported = found(arguments)
    network = imported.network.build().eval().requires_grad_(False)
    network.load_state_dict(imported.weights)
    x, steps = images(arguments), torch.tensor([0, 400, 999])
    expected = monai_network(**arguments)(x, steps)
    assert expected.std() > 1e-2
    assert torch.equal(network(x, steps.float()), expected)


@each_variant
def test_the_prior_is_that_network_with_weights_rounded_to_half(
    tmp_path: Path, arguments: dict[str, Any]
) -> None:
    theirs = rounded(monai_network(**arguments))
    x, steps = images(arguments), torch.tensor([0, 400, 999])
    prior = loaded(tmp_path, found(arguments))
    assert torch.equal(prior.network(x, steps.float()), theirs(x, steps))


@each_variant
def test_the_denoiser_is_what_monais_scheduler_makes_of_the_network(
    tmp_path: Path, arguments: dict[str, Any]
) -> None:
    from monai.networks.schedulers import DDPMScheduler

    scheduler = DDPMScheduler(
        num_train_timesteps=1000, schedule="linear_beta", beta_start=1e-4, beta_end=2e-2,
        clip_sample=False,
    )  # fmt: skip
    prior = loaded(tmp_path, found(arguments)).double()
    for n in (0, 1, 300, 999):
        x = images(arguments).double()
        predicted = prior.network(x, torch.full((3,), float(n), dtype=x.dtype))
        _, clean = scheduler.step(predicted, n, x, generator=torch.Generator().manual_seed(0))
        t = torch.full((3,), (n + 1) / 1000, dtype=x.dtype)
        # the scheduler's betas are in single precision
        torch.testing.assert_close(prior.denoise(x, t), clean, rtol=1e-4, atol=1e-5)


def test_all_but_two_arguments_follow_from_the_weights() -> None:
    for arguments in VARIANTS:
        full = found(arguments, arguments)
        assert found(arguments).network == full.network
        assert full.network.channels == arguments["channels"]
        assert full.network.spatial_dims == arguments["spatial_dims"]


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({}, "do not define num_head_channels and norm_num_groups"),
        ({"norm_num_groups": 4}, "do not define num_head_channels"),
        (
            needed(MONAI_2D) | {"channels": [8, 32]},
            r"channels is \(8, 32\), but \(8, 16\) in the weights",
        ),
        (
            needed(MONAI_2D) | {"num_res_blocks": 2},
            r"res_blocks is \(2, 2\), but \(1, 2\) in the weights",
        ),
        (needed(MONAI_2D) | {"spatial_dims": 3}, "spatial_dims is 3, but 2 in the weights"),
        (needed(MONAI_2D) | {"out_channels": 2, "in_channels": 1}, "out_channels differ"),
        (needed(MONAI_2D) | {"norm_num_groups": 3}, "multiples of norm_num_groups 3"),
        (needed(MONAI_2D) | {"num_class_embeds": 5}, "num_class_embeds: a conditional network"),
        (
            needed(MONAI_2D) | {"with_conditioning": True, "cross_attention_dim": 3},
            "with_conditioning and cross_attention_dim: a conditional network",
        ),
        (needed(MONAI_2D) | {"beta": 5}, "beta: there is no such key"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(config: dict[str, Any], why: str) -> None:
    with pytest.raises(MedscoreError, match=why):
        found(MONAI_2D, config)


def test_arguments_without_effect_are_accepted() -> None:
    config = needed(MONAI_2D) | {
        "_target_": "DiffusionModelUNet", "with_conditioning": False, "cross_attention_dim": None,
        "num_class_embeds": None, "upcast_attention": True, "use_flash_attention": True,
        "transformer_num_layers": 1, "dropout_cattn": 0.0, "norm_eps": 1e-6,
    }  # fmt: skip
    assert found(MONAI_2D, config).network == found(MONAI_2D).network


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"num_class_embeds": 5}, "is class-conditional"),
        (
            {"with_conditioning": True, "cross_attention_dim": 3},
            "is conditioned by cross-attention",
        ),
        ({"in_channels": 2}, "has 2 input and 1 output channels"),
    ],
)
def test_conditional_networks_are_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(MedscoreError, match=why):
        found(MONAI_2D | changes)


def test_the_older_names_of_the_attention_are_refused_with_a_hint() -> None:
    weights = monai_network(**MONAI_2D).state_dict()
    old = {name.replace(".attn.to_q", ".to_q"): value for name, value in weights.items()}
    with pytest.raises(MedscoreError, match="load_old_state_dict"):
        monai.map_checkpoint(Source(Path("w.pt"), old, needed(MONAI_2D)), USER)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("conv_in.conv.weight", None, "not a complete DiffusionModelUNet, missing: conv_in"),
        ("up_blocks.1.resnets.0.norm1.bias", None, "missing: up_blocks.1.resnets.0.norm1.bias"),
        ("adapter.weight", torch.zeros(1), "unknown: adapter.weight"),
        ("out.0.bias", torch.zeros(2), r"of another shape: out\.0\.bias \(2,\) for \(8,\)"),
    ],
)
def test_weights_that_do_not_fit_are_named(name: str, value: torch.Tensor | None, why: str) -> None:
    weights = monai_network(**MONAI_2D).state_dict()
    if value is None:
        del weights[name]
    else:
        weights[name] = value
    with pytest.raises(MedscoreError, match=why):
        monai.map_checkpoint(Source(Path("w.pt"), weights, needed(MONAI_2D)), USER)


@pytest.mark.parametrize("shape", [(), (8,), (8, 8)])
def test_weights_of_any_shape_are_refused(shape: tuple[int, ...]) -> None:
    """Numbers of channels are read from the shapes of some convolutions."""
    weights = monai_network(**MONAI_2D).state_dict()
    chosen = [*list(weights)[:6], "down_blocks.1.resnets.0.conv1.conv.weight", "out.2.conv.weight"]
    for name in chosen:
        if weights[name].shape == shape:
            continue
        changed = weights | {name: torch.zeros(shape)}
        with pytest.raises(MedscoreError, match=r"is no convolution|of another shape"):
            monai.map_checkpoint(Source(Path("w.pt"), changed, needed(MONAI_2D)), USER)


def test_only_monais_are_recognised() -> None:
    assert monai.recognises(Source(Path("w"), monai_network(**MONAI_2D).state_dict()))
    assert not monai.recognises(Source(Path("w"), {"conv_in.weight": torch.zeros(1)}))
    assert not monai.recognises(Source(Path("w"), {"epoch": 1}))

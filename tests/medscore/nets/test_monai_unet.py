"""The adapter of MONAI's network computes the same function, in 2D and 3D."""

import inspect
from typing import Any

import pytest
import torch
from foreign import MONAI_2D, MONAI_3D, monai_network
from pydantic import TypeAdapter, ValidationError
from torch import nn

from medscore.nets.known import Network
from medscore.nets.monai_unet import MonaiUNetSpec
from medscore.priors.contract import PredictionSpec
from medscore.priors.network import NetworkPrior
from medscore.sdes.ddpm import DDPM
from medscore.training.recipe import network_configs

VARIANTS: list[dict[str, Any]] = [
    MONAI_2D,
    MONAI_3D,
    MONAI_2D | {"resblock_updown": True, "use_combined_linear": True, "include_fc": False},
]
each_variant = pytest.mark.parametrize("arguments", VARIANTS, ids=["2d", "3d", "2d-options"])


def specification(arguments: dict[str, Any]) -> MonaiUNetSpec:
    names = {"in_channels": "image_channels", "num_res_blocks": "res_blocks"}
    fields = {names.get(k, k): v for k, v in arguments.items() if k != "out_channels"}
    return MonaiUNetSpec(**fields)


def adapter(arguments: dict[str, Any]) -> tuple[nn.Module, nn.Module]:
    """The adapter and MONAI's own network, with the same weights."""
    theirs, ours = monai_network(**arguments), specification(arguments).build()
    ours.load_state_dict({f"body.{k}": v for k, v in theirs.state_dict().items()})
    return ours.eval().requires_grad_(False), theirs


def images(arguments: dict[str, Any], count: int = 3) -> torch.Tensor:
    shape = (count, 1, *(4, 8, 8)[-arguments["spatial_dims"] :])
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@each_variant
def test_it_computes_monais_function_and_keeps_the_shape(arguments: dict[str, Any]) -> None:
    ours, theirs = adapter(arguments)
    x, steps = images(arguments), torch.tensor([0, 500, 999])
    out = ours(x, steps.float())
    assert out.shape == x.shape
    assert out.std() > 1e-2
    assert torch.equal(out, theirs(x, steps))


@each_variant
def test_it_has_as_many_parameters_as_monais(arguments: dict[str, Any]) -> None:
    ours, theirs = adapter(arguments)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())


@each_variant
def test_the_output_depends_on_the_step(arguments: dict[str, Any]) -> None:
    ours, _ = adapter(arguments)
    x = images(arguments, 1).expand(2, *[-1] * (arguments["spatial_dims"] + 1))
    a, b = ours(x, torch.tensor([10.0, 11.0]))
    assert (a - b).abs().max() > 1e-4


@each_variant
def test_its_score_on_ddpms_chain_is_the_noise_over_sigma(arguments: dict[str, Any]) -> None:
    ours, theirs = (network.double() for network in adapter(arguments))
    told = PredictionSpec(target="noise", condition="level", levels=1000)
    prior = NetworkPrior(
        ours, DDPM(), preconditioning=told.preconditioning(0.5), condition=told.time_variable()
    )
    steps, x = torch.tensor([0, 1, 499, 998, 999]), images(arguments, 5).double()
    betas = torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64)
    sigma = (1 - torch.cumprod(1 - betas, 0)[steps]).sqrt().reshape(-1, *[1] * (x.ndim - 1))
    expected = -theirs(x, steps) / sigma
    torch.testing.assert_close(
        prior.score(x, (steps + 1).double() / 1000), expected, rtol=1e-9, atol=1e-9
    )


def test_defaults_are_monais() -> None:
    from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet

    theirs = inspect.signature(DiffusionModelUNet).parameters
    ours = MonaiUNetSpec().model_dump()
    shared = ours.keys() & theirs.keys()
    assert shared == ours.keys() - {"kind", "image_channels", "res_blocks"}
    for name in shared - {"spatial_dims"}:
        assert ours[name] == theirs[name].default, name
    assert set(theirs["num_res_blocks"].default) == {ours["res_blocks"]}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"attention_levels": (True,)}, "attention_levels .* must have 2 entries"),
        ({"res_blocks": (1, 1, 1)}, "res_blocks .* must have 2 entries"),
        ({"num_head_channels": (4,)}, "num_head_channels .* must have 2 entries"),
        ({"channels": (8, 18)}, "must be multiples of norm_num_groups 4"),
        ({"num_head_channels": 5}, "must be a multiple of num_head_channels, which is 5"),
        ({"num_head_channels": (4, 0)}, "must be a multiple of num_head_channels, which is 0"),
        ({"attention_levels": (True, False)}, "num_head_channels, which is 0 on that level"),
        ({"spatial_dims": 1}, "2 or 3"),
        ({"channels": ()}, "at least 1"),
        ({"with_conditioning": True}, "not permitted"),
    ],
)
def test_arguments_that_do_not_fit_together_are_refused(changes: dict[str, Any], why: str) -> None:
    good = specification(MONAI_2D).model_dump()
    with pytest.raises(ValidationError, match=why):
        MonaiUNetSpec(**(good | changes))


def test_sizes_that_cannot_be_halved_are_refused() -> None:
    spec = MonaiUNetSpec()
    spec.check_size(64)
    with pytest.raises(ValueError, match="must be a multiple of 8"):
        spec.check_size(60)


@pytest.mark.parametrize(("name", "size"), [("monai-2d", 128), ("monai-3d", 64)])
def test_the_named_configurations_build(name: str, size: int) -> None:
    spec = TypeAdapter(Network).validate_python(network_configs()[name])
    assert isinstance(spec, MonaiUNetSpec)
    assert spec.spatial_dims == int(name[-2])
    spec.check_size(size)
    with torch.device("meta"):
        assert sum(p.numel() for p in spec.build().parameters()) > 1e6

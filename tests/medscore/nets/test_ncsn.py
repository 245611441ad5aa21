"""NCSN and NCSNv2: what their output depends on, and the score of priors with them."""

import math

import pytest
import torch
import yaml
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from medscore.nets.known import Network
from medscore.nets.ncsn import NCSNSpec
from medscore.nets.ncsnv2 import NCSNv2Spec
from medscore.nets.normalisation import CondInstanceNormPlus
from medscore.nets.refinenet_spec import RefineNetSpec
from medscore.priors.contract import PredictionSpec
from medscore.priors.network import NetworkPrior
from medscore.sdes.linear import VE

TINY = {"width": 4, "multipliers": (1, 2, 2), "dilations": (1, 1, 2)}
NETWORKS = [NCSNSpec(levels=3, **TINY), NCSNv2Spec(**TINY)]
each_network = pytest.mark.parametrize("spec", NETWORKS, ids=lambda spec: spec.kind)


def build(spec: RefineNetSpec, dtype: torch.dtype = torch.float64, *, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    network = spec.build().to(dtype)
    for name, parameter in network.named_parameters():
        if name.endswith("beta"):  # initialised to zero
            nn.init.normal_(parameter)
    return network


def images(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(len(shape)), dtype=dtype)


def levels(batch: int) -> Tensor:
    return torch.arange(batch, dtype=torch.float64) % 3


def test_only_the_parameters_of_the_level_are_used() -> None:
    network = build(NETWORKS[0])
    x = images(1, 1, 16, 16)
    outputs = [network(x, torch.tensor([float(i)], dtype=x.dtype)) for i in range(3)]
    assert all((outputs[i] - outputs[j]).abs().max() > 1e-3 for i, j in ((0, 1), (1, 2), (0, 2)))
    outputs[1].square().sum().backward()
    seen = 0
    for name, parameter in network.named_parameters():
        if name.endswith(("gamma", "beta", "alpha")):
            seen += 1
            assert parameter.grad[1].abs().max() > 0, name
            assert (parameter.grad[[0, 2]] == 0).all(), name
    assert seen == 3 * sum(isinstance(m, CondInstanceNormPlus) for m in network.modules()) > 0


def test_a_level_is_rounded_to_the_nearest_scale_and_refused_outside_them() -> None:
    network, x = build(NETWORKS[0]), images(1, 1, 8, 8)
    near = network(x, torch.tensor([1.4], dtype=x.dtype))
    assert torch.equal(near, network(x, torch.tensor([1.0], dtype=x.dtype)))
    above = network(x, torch.tensor([1.6], dtype=x.dtype))
    assert torch.equal(above, network(x, torch.tensor([2.0], dtype=x.dtype)))
    for level in (-1.0, 3.0):
        with pytest.raises(IndexError):
            network(x, torch.tensor([level], dtype=x.dtype))


def test_ncsnv2_does_not_depend_on_the_condition() -> None:
    network, x = build(NETWORKS[1]), images(2, 1, 16, 16)
    told = torch.tensor([math.nan, -7.0], dtype=torch.float64)
    assert torch.equal(network(x, told), network(x, levels(2)))


@each_network
@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (2, 1, 16, 24), (1, 3, 20, 20), (3, 2, 32, 32)])
def test_the_output_has_the_shape_of_the_image(spec: RefineNetSpec, shape: tuple[int, ...]) -> None:
    network = build(spec.model_copy(update={"image_channels": shape[1]}))
    out = network(images(*shape), levels(shape[0]))
    assert out.shape == shape
    assert out.dtype == torch.float64
    assert out.isfinite().all()


@each_network
@pytest.mark.parametrize("stages", [1, 2, 4])
def test_the_output_depends_on_every_parameter_at_any_depth(
    spec: RefineNetSpec, stages: int
) -> None:
    sizes = {"multipliers": (1, 2, 3, 1)[:stages], "dilations": (1, 2, 1, 1)[:stages]}
    network = build(spec.model_copy(update=sizes))
    network(images(3, 1, 16, 16), levels(3)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.abs().max() > 0, name


@each_network
def test_samples_of_a_batch_are_independent(spec: RefineNetSpec) -> None:
    network, x, c = build(spec), images(3, 1, 16, 16), levels(3)
    alone = torch.cat([network(x[i : i + 1], c[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(network(x, c), alone, rtol=1e-10, atol=1e-12)


@each_network
def test_the_memory_format_changes_nothing(spec: RefineNetSpec) -> None:
    network, x = build(spec), images(2, 1, 16, 16)
    plain = network(x, levels(2))
    network = network.to(memory_format=torch.channels_last)
    last = network(x.contiguous(memory_format=torch.channels_last), levels(2))
    torch.testing.assert_close(last, plain, rtol=1e-10, atol=1e-12)


@each_network
def test_bfloat16_autocast_is_float32_to_its_precision(spec: RefineNetSpec) -> None:
    network, x = build(spec, torch.float32), images(2, 1, 16, 16, dtype=torch.float32)
    full = network(x, levels(2).float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = network(x, levels(2).float())
    assert half.dtype == torch.bfloat16
    assert (half - full).norm() < 0.05 * full.norm()


@each_network
def test_the_state_dict_makes_another_network_the_same(spec: RefineNetSpec) -> None:
    one, other = build(spec), build(spec, seed=1)
    x, c = images(2, 1, 16, 16), levels(2)
    assert not torch.equal(one(x, c), other(x, c))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(x, c), other(x, c))


@each_network
def test_the_specification_survives_a_file(spec: RefineNetSpec) -> None:
    text = yaml.safe_dump(spec.model_dump(mode="json"))
    assert TypeAdapter(Network).validate_python(yaml.safe_load(text)) == spec


def test_impossible_specifications_and_sizes_are_refused() -> None:
    with pytest.raises(ValidationError, match="must have the same length"):
        NCSNv2Spec(multipliers=(1, 2), dilations=(1, 1, 2))
    with pytest.raises(ValidationError, match="levels"):
        NCSNSpec(levels=1)
    thrice = NCSNv2Spec(multipliers=(1,) * 5, dilations=(1, 1, 1, 1, 2))
    thrice.check_size(8)
    with pytest.raises(ValueError, match="must be a multiple of 8"):
        thrice.check_size(252)


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_the_score_of_an_ncsnv2_prior_is_its_output_over_sigma(t: float) -> None:
    sde, network, x = VE(0.1, 20.0), build(NETWORKS[1]), images(2, 1, 8, 8)
    prediction = PredictionSpec(target="scaled_score")
    prior = NetworkPrior(network, sde, preconditioning=prediction.preconditioning(0.5))
    times = torch.full((2,), t, dtype=torch.float64)
    expected = network(x, times) / sde.sigma(times)[:, None, None, None]
    torch.testing.assert_close(prior.score(x, times), expected, rtol=1e-9, atol=1e-11)


def test_the_score_of_an_ncsn_prior_is_its_output_at_the_level_of_the_time() -> None:
    sde, network, x = VE(0.1, 20.0), build(NETWORKS[0]), images(3, 1, 8, 8)
    prediction = PredictionSpec(target="score", condition="level", levels=3)
    prior = NetworkPrior(
        network,
        sde,
        preconditioning=prediction.preconditioning(0.5),
        condition=prediction.time_variable(),
    )
    times = torch.tensor([sde.eps, (sde.eps + 1) / 2, 1.0], dtype=torch.float64)
    torch.testing.assert_close(prior.score(x, times), network(x, levels(3)), rtol=1e-9, atol=1e-11)

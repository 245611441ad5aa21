"""Checkpoints of score_sde_pytorch: all tensors are used, and the network computes the same.

``published`` writes down, from that library's models/ncsnpp.py and models/ddpm.py, which tensors
such a network has, in order; nothing of the importer is used.
"""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.nets.ncsnpp import NCSNPPSpec
from medscore.priors.importers import score_sde
from medscore.training.recipe import network_configs

NAMED = [
    "ddpm", "ddpmpp", "ddpmpp-cont", "ddpmpp-cont-deep", "ncsnpp", "ncsnpp-cont",
    "ncsnpp-cont-deep",
]  # fmt: skip
DDPM = {
    "embedding": "positional", "resample": "plain", "progressive_input": "none", "block": "ddpm",
    "rescale_skips": False,
}  # fmt: skip
DDPMPP = {"embedding": "positional", "resample": "plain", "progressive_input": "none"}
SKIPS = {"progressive_input": "input_skip", "progressive_output": "output_skip"}
SMALL = {
    "small ncsnpp": NCSNPPSpec(image_channels=2, width=8, multipliers=(1, 2, 2), blocks=1,
                         image_range="unit"),
    "small ddpmpp": NCSNPPSpec(width=8, multipliers=(1, 2), blocks=2, **DDPMPP),
    "small ddpm": NCSNPPSpec(width=128, multipliers=(1, 2), blocks=1, **DDPM),
    "small skips": NCSNPPSpec(width=8, multipliers=(1, 2, 3), blocks=1, attention=(2,),
                        image_range="unit", **SKIPS),
}  # fmt: skip


def named(name: str) -> NCSNPPSpec:
    return NCSNPPSpec.model_validate(network_configs()[name])


def published(spec: NCSNPPSpec) -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes of all tensors in the order of the library."""
    nf, image, biggan = spec.width, spec.image_channels, spec.block == "biggan"
    between = "Conv2d_0" if spec.resample == "fir" else "Conv_0"
    layers: list[Iterator[tuple[str, tuple[int, ...]]]] = []

    def affine(name: str, *shape: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield from ((f"{name}weight", shape), (f"{name}bias", shape[:1]))

    def nin(name: str, into: int, out: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield from ((f"{name}.W", (into, out)), (f"{name}.b", (out,)))

    def block(
        into: int, out: int, resampled: bool = False
    ) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield from affine("GroupNorm_0.", into)
        yield from affine("Conv_0.", out, into, 3, 3)
        yield from affine("Dense_0.", out, 4 * nf)
        yield from affine("GroupNorm_1.", out)
        yield from affine("Conv_1.", out, out, 3, 3)
        if biggan and (into != out or resampled):
            yield from affine("Conv_2.", out, into, 1, 1)
        elif into != out:
            yield from nin("NIN_0", into, out)

    def attention(c: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield from affine("GroupNorm_0.", c)
        for i in range(4):
            yield from nin(f"NIN_{i}", c, c)

    def resample(c: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        return block(c, c, True) if biggan else affine(f"{between}.", c, c, 3, 3)

    if spec.embedding == "fourier":
        layers.append(iter([("W", (nf,))]))
    layers.append(affine("", 4 * nf, nf * (2 if spec.embedding == "fourier" else 1)))
    layers += [affine("", 4 * nf, 4 * nf), affine("", nf, image, 3, 3)]
    stack, h, pyramid, coarsest = [nf], nf, image, len(spec.multipliers) - 1
    for level, multiplier in enumerate(spec.multipliers):
        for _ in range(spec.blocks):
            layers.append(block(h, h := nf * multiplier))
            stack.append(h)
            if level in spec.attention:
                layers.append(attention(h))
        if level < coarsest:
            layers.append(resample(h))
            stack.append(h)
            if spec.progressive_input == "input_skip":
                layers.append(affine("Conv.", h, image, 1, 1))
            if spec.progressive_input == "residual":
                layers.append(affine(f"{between}.", h, pyramid, 3, 3))
                pyramid = h
    layers += [block(h, h), attention(h), block(h, h)]
    for level in range(coarsest, -1, -1):
        for _ in range(spec.blocks + 1):
            layers.append(block(h + stack.pop(), h := nf * spec.multipliers[level]))
        if level in spec.attention:
            layers.append(attention(h))
        if spec.progressive_output == "output_skip" or level == 0:
            head = [affine("", h), affine("", image, h, 3, 3)]
            layers += head
        if level:
            layers.append(resample(h))
    assert not stack
    return [(f"all_modules.{n}.{name}", s) for n, layer in enumerate(layers) for name, s in layer]


def wave(shape: tuple[int, ...], n: float, gain: float) -> Tensor:
    """Deterministic numbers from a formula, which need not be stored."""
    k = torch.arange(math.prod(shape), dtype=torch.float64) % 997
    return (gain * torch.sin(0.37 * k**2 + n)).reshape(shape).float()


def tensors(spec: NCSNPPSpec) -> dict[str, Tensor]:
    """The tensors of a published network, scaled to preserve the variance of a signal."""
    made = {}
    for n, (name, shape) in enumerate(published(spec)):
        if name == "all_modules.0.W":
            made[name] = wave(shape, n, 3.0)
        elif len(shape) == 1:
            made[name] = wave(shape, n, 0.2) + (1.0 if name.endswith("weight") else 0.0)
        else:
            fan = shape[0] if name.endswith(".W") else math.prod(shape[1:])
            made[name] = wave(shape, n, math.sqrt(2 / fan))
    return made


def checkpoint(
    made: dict[str, Tensor], average: dict[str, Tensor] | None = None
) -> dict[str, object]:
    """The content of a file as the library saves it, with the prefix of parallel modules."""
    model = {"module.sigmas": torch.logspace(1.7, -2, 1000, dtype=torch.float64)}
    model |= {f"module.{name}": tensor for name, tensor in made.items()}
    content: dict[str, object] = {"optimizer": {}, "model": model, "step": 7}
    if average is not None:
        shadow = [tensor for name, tensor in average.items() if name != "all_modules.0.W"]
        content["ema"] = {"decay": 0.999, "num_updates": 7, "shadow_params": shadow}
    return content


def constants(spec: NCSNPPSpec, sign: int) -> dict[str, Tensor]:
    """Tensors that are each filled with a number of their own."""
    return {
        name: torch.full((), sign * (n + 1.0)).expand(shape)
        for n, (name, shape) in enumerate(published(spec))
    }


@pytest.mark.parametrize("name", [*NAMED, *SMALL])
def test_every_tensor_is_used_once_and_has_the_shape_of_its_place(name: str) -> None:
    spec = SMALL[name] if name in SMALL else named(name)
    made = constants(spec, 1)
    with torch.device("meta"):
        places = {k: v.shape for k, v in spec.build().state_dict().items()}
    mapped = score_sde.weights(checkpoint(made, constants(spec, 1)), spec)
    assert {k: v.shape for k, v in mapped.items()} == places
    numbers = [float(tensor.flatten()[0]) for tensor in mapped.values()]
    assert sorted(numbers) == [n + 1.0 for n in range(len(made))]


# Computed with the code of score_sde_pytorch (Apache-2.0), rewritten to run without its CUDA parts:
# models/ncsnpp.py, ddpm.py and layers.py of commit c8c18d180ab99ebb8e5213bbc0b1e22e20a38e40,
# layerspp.py and up_or_down_sampling.py of 235991bc8bfa8106bdeacaaa2ea2a84318d5c847, and the native
# upfirdn2d of rosinality/stylegan2-pytorch; from ``tensors`` and the inputs below, ten numbers of
# each output.
PUBLISHED = {
    "small ncsnpp": [
        -0.00388639, 0.612308, 0.0241839, 0.784629, 0.315438,
        -0.32518, 1.72701, 1.21385, -0.446911, -0.198981,
    ],
    "small ddpmpp": [
        0.0624871, 0.385727, 0.132549, 0.151779, -0.270581,
        -0.0594358, 0.0801325, -1.82474, -0.158678, -0.139448,
    ],
    "small ddpm": [
        -0.0526072, 0.388946, 0.103973, 0.493326, -0.209725,
        0.278871, -0.283423, -0.688704, -0.189376, 1.1519,
    ],
    "small skips": [
        -0.570357, -0.720063, -1.12885, -1.49506, -0.816241,
        -1.17802, -0.649063, 0.664795, -0.492098, -0.868166,
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_the_network_computes_what_the_published_one_does(name: str) -> None:
    spec = SMALL[name]
    network = spec.build().eval()
    network.load_state_dict(score_sde.weights(checkpoint(tensors(spec)), spec))
    x = wave((2, spec.image_channels, 8, 8), 0.5, 1.0)
    c = (
        torch.tensor([0.3, 20.0]).log()
        if spec.embedding == "fourier"
        else torch.tensor([17.0, 903])
    )
    with torch.no_grad():
        out = network(x, c).flatten()
    found = out[:: len(out) // 10][:10]
    torch.testing.assert_close(found, torch.tensor(PUBLISHED[name]), rtol=1e-4, atol=1e-5)


def test_averages_are_preferred_but_for_what_is_not_trained() -> None:
    spec = SMALL["small ncsnpp"]
    content = checkpoint(constants(spec, 1), constants(spec, -1))
    mapped = score_sde.weights(content, spec)
    assert {name for name, tensor in mapped.items() if (tensor > 0).all()} == {
        "embedding.frequencies"
    }
    plain = score_sde.weights({"model": content["model"]}, spec)
    assert all(
        torch.equal(plain[name], -tensor if name != "embedding.frequencies" else tensor)
        for name, tensor in mapped.items()
    )


def test_the_tensors_of_the_model_alone_are_enough() -> None:
    spec = SMALL["small ddpmpp"]
    whole = score_sde.weights(checkpoint(tensors(spec)), spec)
    alone = score_sde.weights(dict(tensors(spec)), spec)
    assert all(torch.equal(whole[name], alone[name]) for name in whole.keys() | alone.keys())


@pytest.mark.parametrize("name", NAMED)
def test_the_named_networks_are_recognised(name: str) -> None:
    found, spec = score_sde.recognise(checkpoint(constants(named(name), 1))), named(name)
    ve = name.startswith("ncsnpp")
    unseen = {"dropout": 0.0, "image_range": "unit" if ve else "symmetric"}
    assert found == spec.model_copy(update=unseen)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"multipliers": (1, 1, 2, 4, 4), "attention": (1, 4), "blocks": 3},
        {"attention": (0, 1), "image_channels": 3},
        {**SKIPS},
        {**SKIPS, "attention": (), "blocks": 3},
        {**DDPM, "image_range": "symmetric"},
        {**DDPM, "image_range": "symmetric", "attention": (2,), "blocks": 2},
        {**DDPMPP, "image_range": "symmetric", "multipliers": (2, 2)},
    ],
    ids=str,
)
def test_other_networks_are_recognised(change: dict[str, object]) -> None:
    base = {"width": 16, "multipliers": (1, 2, 3), "blocks": 1, "image_range": "unit"}
    spec = NCSNPPSpec.model_validate({**base, **change})
    assert score_sde.recognise(checkpoint(constants(spec, 1))) == spec


def test_other_content_is_not_recognised() -> None:
    made = tensors(SMALL["small ddpmpp"])
    first = next(iter(made))
    assert score_sde.recognise({}) is None
    assert score_sde.recognise({"model": 3}) is None
    assert score_sde.recognise({"model": {}}) is None
    assert score_sde.recognise({"encoder.weight": torch.zeros(3, 3)}) is None
    assert score_sde.recognise({k: v for k, v in made.items() if k != first}) is None
    assert score_sde.recognise({**made, "extra": torch.zeros(1)}) is None
    for name in list(made)[::9]:
        assert score_sde.recognise({**made, name: torch.zeros(5, 7)}) is None, name


@pytest.mark.slow
def test_a_tensor_that_is_missing_or_of_another_shape_is_not_recognised() -> None:
    made = tensors(SMALL["small ddpmpp"])
    for name in made:
        for shape in ((5, 7), (), (0, 0, 3, 3)):
            assert score_sde.recognise({**made, name: torch.zeros(shape)}) is None, name
        assert score_sde.recognise({k: v for k, v in made.items() if k != name}) is None, name


def refusal(content: dict[str, object], spec: NCSNPPSpec) -> str:
    with pytest.raises(MedscoreError) as error:
        score_sde.weights(content, spec)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_does_not_fit_is_refused_by_name() -> None:
    spec = SMALL["small ddpmpp"]
    made = tensors(spec)
    last = list(made)[-1]
    fewer = {k: v for k, v in made.items() if k != last}
    assert f"the file lacks {last}" in refusal(fewer, spec)
    assert "the network has no all_modules.99.W" in refusal(
        {**made, "all_modules.99.W": torch.zeros(1)}, spec
    )
    assert f"{last} is (1, 1), not (1,)" in refusal({**made, last: torch.zeros(1, 1)}, spec)
    assert "and" in refusal(made, SMALL["small ncsnpp"])
    assert "more" in refusal(made, SMALL["small ncsnpp"])
    for nothing in ({}, {"model": 3}, {"model": {"a": 1}}, {"model": {}}):
        assert "no `model` with named tensors" in refusal(nothing, spec)


def test_averages_of_another_network_are_refused() -> None:
    spec = SMALL["small ddpmpp"]
    made = tensors(spec)
    last = list(made)[-1]
    short = {k: v for k, v in made.items() if k != last}
    assert f"{len(made) - 1} tensors, but the network has {len(made)}" in refusal(
        checkpoint(made, short), spec
    )
    assert f"{last} is (3,), not (1,)" in refusal(
        checkpoint(made, {**made, last: torch.zeros(3)}), spec
    )
    assert "shadow_params" in refusal({**checkpoint(made), "ema": {"decay": 0.9}}, spec)


def test_the_noise_scales_are_read() -> None:
    found = score_sde.noise_scales(checkpoint(tensors(SMALL["small ddpmpp"])))
    assert found == pytest.approx((0.01, 10**1.7, 1000))
    assert score_sde.noise_scales({}) is None
    assert score_sde.noise_scales({"model": 3}) is None


def test_counting_from_the_least_noise_changes_only_the_count() -> None:
    spec = SMALL["small ddpmpp"]
    mapped = score_sde.weights(tensors(spec), spec)
    there, here = spec.build().eval().double(), spec.build().eval().double()
    there.load_state_dict(mapped)
    doubled = {name: tensor.double() for name, tensor in mapped.items()}
    here.load_state_dict(score_sde.count_from_least_noise(doubled, 1000))
    k = torch.tensor([0.0, 3.0, 411.5, 999.0], dtype=torch.float64)
    x = wave((4, 1, 8, 8), 0.5, 1.0).double()
    torch.testing.assert_close(here(x, k), there(x, 999 - k))
    assert not torch.allclose(here(x, k), there(x, k), atol=1e-3)

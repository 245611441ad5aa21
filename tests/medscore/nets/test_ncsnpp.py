"""NCSN++, DDPM++ and DDPM, and their components."""

import math

import numpy as np
import pytest
import torch
from scipy import signal
from torch import Tensor, nn

from medscore.nets.embedding import FourierEmbedding, PositionalEmbedding
from medscore.nets.fir import FIR, PLAIN, Resampling
from medscore.nets.ncsnpp import NCSNPP, NCSNPPSpec
from medscore.nets.residual import Attention, BlockStyle, ResidualBlock, StridedConvolution
from medscore.priors.contract import PredictionSpec
from medscore.priors.network import NetworkPrior
from medscore.sdes.linear import VE, VP, SubVP
from medscore.training.recipe import network_configs

K = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
BOX = np.ones((2, 2)) / 4
PAIRS = pytest.mark.parametrize("pair", [FIR, PLAIN], ids=["fir", "plain"])

SPECS = {
    "ncsnpp": NCSNPPSpec(width=8, multipliers=(1, 2, 2), blocks=1),
    "ddpmpp": NCSNPPSpec(
        width=8, multipliers=(1, 2), embedding="positional", resample="plain", blocks=1,
        progressive_input="none",
    ),
    "ddpm": NCSNPPSpec(
        width=8, multipliers=(1, 2), embedding="positional", resample="plain", blocks=2,
        progressive_input="none", block="ddpm", rescale_skips=False,
    ),
    "ddpm, fir": NCSNPPSpec(width=8, multipliers=(1, 2), blocks=1, block="ddpm", attention=()),
    "skips": NCSNPPSpec(
        width=8, multipliers=(1, 2, 3), blocks=1, attention=(0, 2),
        progressive_input="input_skip", progressive_output="output_skip",
    ),
}  # fmt: skip
EVERY = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def awake(spec: NCSNPPSpec) -> NCSNPP:
    """The network in float64, with random weights that preserve the variance of signals."""
    network = NCSNPP(spec).double().eval()
    for i, (name, p) in enumerate(network.named_parameters()):
        values = draw(*p.shape, seed=i)
        if p.ndim > 1:
            p.data = values * math.sqrt(2 / p[0].numel())
        else:
            p.data = 0.1 * values + (1.0 if "norm" in name and name.endswith("weight") else 0.0)
    return network


def conditions(spec: NCSNPPSpec, n: int) -> Tensor:
    """Conditions for a network of this specification, n different values."""
    ends = (-4.0, 3.0) if spec.embedding == "fourier" else (0.0, 999.0)
    return torch.linspace(*ends, n, dtype=torch.float64)


# --- resampling


@PAIRS
def test_resampling_keeps_constants_away_from_the_border(pair: Resampling) -> None:
    x = torch.full((2, 3, 8, 10), 1.7, dtype=torch.float64)
    for out, size in ((pair.down(x), (4, 5)), (pair.up(x), (16, 20))):
        assert out.shape == (2, 3, *size)
        torch.testing.assert_close(out[..., 1:-1, 1:-1], torch.full_like(out, 1.7)[..., 1:-1, 1:-1])


@PAIRS
def test_upsampling_is_four_times_the_adjoint_of_downsampling(pair: Resampling) -> None:
    x, y = draw(2, 3, 8, 12), draw(2, 3, 4, 6, seed=1)
    torch.testing.assert_close(4 * (pair.down(x) * y).sum(), (x * pair.up(y)).sum())


@pytest.mark.parametrize(("pair", "kernel"), [(FIR, K), (PLAIN, BOX)], ids=["fir", "plain"])
def test_resampling_is_convolution_between_zeros(pair: Resampling, kernel: np.ndarray) -> None:
    """Downsampling keeps every other pixel of a convolution, upsampling inserts zeros before it."""
    x = draw(1, 2, 6, 8)
    for channel in range(2):
        image = x[0, channel].numpy()
        full = signal.convolve2d(image, kernel)
        first = len(kernel) // 2  # offset in the full convolution that centres the kernel
        np.testing.assert_allclose(
            pair.down(x)[0, channel], full[first::2, first::2][:3, :4], atol=1e-12
        )
        sparse = np.zeros((12, 16))
        sparse[::2, ::2] = 4 * image
        full, first = signal.convolve2d(sparse, kernel), (len(kernel) - 1) // 2
        np.testing.assert_allclose(
            pair.up(x)[0, channel], full[first:, first:][:12, :16], atol=1e-12
        )


def test_a_strided_convolution_filters_first_and_then_takes_every_other_pixel() -> None:
    """A correlation of the weight with the image, which FIR filters first and DDPM does not."""
    x = draw(1, 1, 8, 6)
    for pair, kernel in ((FIR, K), (PLAIN, np.ones((1, 1)))):
        layer = StridedConvolution(1, 1, pair).double()
        layer.conv.bias.data.fill_(0.3)
        image = np.pad(x[0, 0].numpy(), 3)
        filtered = signal.convolve2d(image, kernel)
        weight = layer.conv.weight[0, 0].detach().numpy()
        correlated = signal.correlate2d(filtered, weight, mode="valid")
        # the first output pixel depends on columns from -2 with the filter, and from 0 without
        first = 3 - 2 + 3 if pair is FIR else 3
        expected = correlated[first::2, first::2][:4, :3] + 0.3
        np.testing.assert_allclose(layer(x)[0, 0].detach().numpy(), expected, atol=1e-12)


# --- embeddings


def test_fourier_features_are_sines_and_cosines_of_the_frequencies() -> None:
    embedding = FourierEmbedding(5).double()
    embedding.frequencies = torch.tensor([-20.0, 0.0, 0.25, 1.0, 16.5], dtype=torch.float64)
    c = torch.tensor([-4.6, 0.0, 1.0], dtype=torch.float64)
    expected = [
        [f(2 * math.pi * w * a) for f in (math.sin, math.cos) for w in (-20, 0, 0.25, 1, 16.5)]
        for a in (-4.6, 0, 1)
    ]
    torch.testing.assert_close(embedding(c), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.statistical
def test_fourier_frequencies_are_drawn_once_from_a_normal_of_the_scale() -> None:
    """Within 6 standard errors: false-alarm rate below 1e-8."""
    torch.manual_seed(0)
    n = 20_000
    for scale in (16.0, 3.0):
        embedding = FourierEmbedding(n, scale)
        w = embedding.frequencies / scale
        assert abs(float(w.mean())) < 6 / math.sqrt(n)
        assert abs(float(w.square().mean()) - 1) < 6 * math.sqrt(2 / n)
        assert not list(embedding.parameters())
        assert "frequencies" in embedding.state_dict()


def test_positions_are_sinusoids_of_periods_from_one_to_ten_thousand() -> None:
    c = torch.tensor([0.0, 17.0, 998.5], dtype=torch.float64)
    found = PositionalEmbedding(8)(c)
    rates = [1, 10 ** (-4 / 3), 10 ** (-8 / 3), 1e-4]
    expected = [[f(r * a) for f in (math.sin, math.cos) for r in rates] for a in c.tolist()]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


# --- blocks


def style(skip: float, resampling: Resampling = FIR) -> BlockStyle:
    return BlockStyle(condition=16, dropout=0.0, skip=skip, shortcut=1.0, resampling=resampling)


@pytest.mark.parametrize("skip", [1.0, 0.5**0.5])
def test_an_untrained_block_is_its_skip_connection_rescaled(skip: float) -> None:
    block = ResidualBlock(8, 8, style(skip)).double()
    attention = Attention(8, skip).double()
    x = draw(2, 8, 4, 4)
    torch.testing.assert_close(block(x, draw(2, 16)), skip * x, rtol=0, atol=1e-4)
    torch.testing.assert_close(attention(x), skip * x, rtol=0, atol=1e-4)


@PAIRS
def test_an_untrained_resampling_block_is_a_resampled_linear_map(pair: Resampling) -> None:
    x = draw(2, 8, 6, 4)
    for resample in (pair.down, pair.up):
        block = ResidualBlock(8, 8, style(1.0, pair), resample).double()
        expected = torch.einsum("oi,bihw->bohw", block.shortcut.weight[..., 0, 0], resample(x))
        torch.testing.assert_close(block(x, draw(2, 16)), expected, rtol=0, atol=1e-4)


def test_attention_with_zero_queries_takes_the_mean_of_all_values() -> None:
    attention = Attention(8, 1.0).double()
    nn.init.zeros_(attention.query.weight)
    attention.out.weight.data = torch.eye(8, dtype=torch.float64)[..., None, None]
    x = draw(2, 8, 4, 6)
    values = attention.value(attention.norm(x))
    torch.testing.assert_close(attention(x), x + values.mean((2, 3), keepdim=True))


def test_attention_takes_the_value_of_the_matching_pixel() -> None:
    """Keys have one channel, scaled so that the softmax selects the largest only."""
    attention = Attention(4, 1.0).double()
    one = torch.zeros(4, 4, 1, 1, dtype=torch.float64)
    one[0, 0] = 1.0
    attention.key.weight.data, attention.query.weight.data = 1e4 * one, 0 * one
    attention.query.bias.data = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64)
    attention.out.weight.data = torch.eye(4, dtype=torch.float64)[..., None, None]
    x = draw(1, 4, 4, 4)
    h = attention.norm(x)
    best = int(h[0, 0].argmax())
    expected = attention.value(h)[0].flatten(1)[:, best]
    torch.testing.assert_close(attention(x) - x, expected[None, :, None, None].expand_as(x))


# --- the network


@EVERY
def test_the_image_keeps_its_shape_and_the_output_depends_on_every_parameter(
    spec: NCSNPPSpec,
) -> None:
    network = awake(spec)
    x = draw(2, 1, 8, 12)
    out = network(x, conditions(spec, 2))
    assert out.shape == x.shape
    assert 0.02 < float(out.detach().std()) < 10
    (out * draw(2, 1, 8, 12, seed=3)).sum().backward()
    for name, p in network.named_parameters():
        if not name.endswith("key.bias"):  # adds the same number to all logits
            assert float(p.grad.abs().max()) > 1e-8, name


@EVERY
def test_an_untrained_network_predicts_nearly_zero(spec: NCSNPPSpec) -> None:
    network = spec.build().double().eval()
    assert network(draw(2, 1, 8, 8), conditions(spec, 2)).abs().max().item() < 1e-3


@EVERY
def test_images_of_a_batch_are_independent(spec: NCSNPPSpec) -> None:
    network, x, c = awake(spec), draw(3, 1, 8, 8), conditions(spec, 3)
    alone = torch.cat([network(x[i : i + 1], c[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(network(x, c), alone)


@EVERY
def test_the_output_depends_on_the_condition(spec: NCSNPPSpec) -> None:
    network, x = awake(spec), draw(1, 1, 8, 8).expand(4, -1, -1, -1)
    out = network(x, conditions(spec, 4)).detach()
    assert float((out[1:] - out[:-1]).detach().flatten(1).abs().amax(1).min()) > 1e-3


@EVERY
def test_single_precision_channels_last_and_bf16_agree(spec: NCSNPPSpec) -> None:
    network, x, c = awake(spec), draw(2, 1, 8, 8), conditions(spec, 2)
    exact = network(x, c).detach()
    single = network.float()
    x, c = x.float(), c.float()
    torch.testing.assert_close(single(x, c).double(), exact, rtol=0, atol=1e-3)
    last = single.to(memory_format=torch.channels_last)
    found = last(x.contiguous(memory_format=torch.channels_last), c)
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-3)
    with torch.autocast("cpu", torch.bfloat16):
        half = single(x, c).detach()
    assert half.dtype == torch.bfloat16
    assert float((half.double().detach() - exact).norm() / exact.norm()) < 0.05


@pytest.mark.filterwarnings(
    "ignore:.torch.jit.script. is deprecated:DeprecationWarning"
)  # from jvp
@pytest.mark.parametrize("name", ["ncsnpp", "skips"])
def test_the_divergence_can_be_trained_on(name: str) -> None:
    """Forward-mode and second derivatives exist."""
    network, x, c = awake(SPECS[name]), draw(1, 1, 8, 8), conditions(SPECS[name], 1)
    v = draw(1, 1, 8, 8, seed=1)
    _, forward = torch.func.jvp(lambda x: network(x, c), (x,), (v,))
    x.requires_grad_()
    (back,) = torch.autograd.grad((network(x, c) * v).sum(), x, create_graph=True)
    torch.testing.assert_close((back * v).sum(), (forward * v).sum())
    (back * v).sum().backward()
    assert float(network.first.weight.grad.abs().max()) > 1e-6


def test_dropout_is_for_training_only() -> None:
    network = awake(SPECS["ncsnpp"].model_copy(update={"dropout": 0.5}))
    plain, x, c = awake(SPECS["ncsnpp"]), draw(1, 1, 8, 8), conditions(SPECS["ncsnpp"], 1)
    plain.load_state_dict(network.state_dict())
    assert torch.equal(network(x, c), plain(x, c))
    torch.manual_seed(0)
    assert float((network.train()(x, c) - plain(x, c)).detach().abs().max()) > 1e-3


def test_a_unit_range_is_made_symmetric() -> None:
    network = awake(SPECS["ncsnpp"])
    unit = NCSNPP(SPECS["ncsnpp"].model_copy(update={"image_range": "unit"})).double().eval()
    unit.load_state_dict(network.state_dict())
    x, c = draw(2, 1, 8, 8), conditions(SPECS["ncsnpp"], 2)
    torch.testing.assert_close(unit(x, c), network(2 * x - 1, c))


def reach(network: nn.Module, spec: NCSNPPSpec, side: int) -> tuple[int, int, int, int]:
    """First and last row and column that the central output pixel depends on."""
    x = draw(1, 1, side, side).requires_grad_()
    network(x, conditions(spec, 1))[0, 0, side // 2, side // 2].backward()
    rows, columns = (x.grad[0, 0].abs().amax(axis).nonzero().flatten() for axis in (1, 0))
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])


@pytest.mark.parametrize(("resample", "before", "after"), [("plain", 35, 34), ("fir", 36, 37)])
def test_the_receptive_field_without_norms_and_attention_is_that_of_the_layers(
    resample: str, before: int, after: int
) -> None:
    """The receptive field of the even pixel p = 2q, for two levels with one block each.

    On the fine level, the last convolution, 2 blocks and the upsampling block reach p - 7 to p + 7,
    which on the coarse level are q - 4 to q + 3 (q + 4 with FIR). There the 2 blocks of the
    decoder, 2 of the middle and 1 of the encoder and the downsampling block reach 12 pixels
    further. These are the fine pixels 2q - 32 to 2q + 31 (2q - 33 to 2q + 34), to which the
    encoder's block and the first convolution add 3.
    """
    spec = NCSNPPSpec(
        width=4, multipliers=(1, 1), blocks=1, attention=(), resample=resample,
        progressive_input="none",
    )  # fmt: skip
    network = awake(spec)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.GroupNorm | Attention):
                setattr(module, name, nn.Identity())
    assert reach(network, spec, 96) == (48 - before, 48 + after) * 2


def test_the_receptive_field_with_attention_is_the_whole_image() -> None:
    spec = SPECS["ddpmpp"].model_copy(update={"attention": ()})  # leaves the middle's
    assert reach(awake(spec), spec, 80) == (0, 79, 0, 79)


# --- the prior


@pytest.mark.parametrize(
    ("sde", "name", "prediction", "sign"),
    [
        (VE(0.01, 50.0), "ncsnpp", {"target": "scaled_score", "condition": "log_sigma"}, 1),
        (VP(), "ddpmpp", {"target": "noise", "condition": "time"}, -1),
        (SubVP(), "ddpmpp", {"target": "noise", "condition": "time"}, -1),
    ],
    ids=["ve", "vp", "subvp"],
)
def test_the_score_is_the_network_over_sigma(
    sde: VE | VP | SubVP, name: str, prediction: dict[str, str], sign: int
) -> None:
    spec, network = PredictionSpec.model_validate(prediction), awake(SPECS[name])
    prior = NetworkPrior(
        network, sde, preconditioning=spec.preconditioning(0.5), condition=spec.time_variable()
    )
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    sigma = sde.sigma(t)
    x = draw(3, 1, 8, 8) * sigma[:, None, None, None]
    out = network(x, torch.log(sigma) if sign > 0 else 999 * t)
    torch.testing.assert_close(prior.score(x, t), sign * out / sigma[:, None, None, None])


# --- specifications

COUNTS = {
    "ddpm": 35_218_947, "ddpmpp": 61_804_419, "ddpmpp-cont": 61_804_419,
    "ddpmpp-cont-deep": 106_632_579, "ncsnpp": 62_693_251, "ncsnpp-cont": 62_758_787,
    "ncsnpp-cont-deep": 107_586_947,
}  # fmt: skip
"""Numbers of parameters of the networks in score_sde_pytorch's CIFAR-10 configurations."""


@pytest.mark.parametrize("name", COUNTS)
def test_the_named_networks_have_as_many_parameters_as_published(name: str) -> None:
    spec = NCSNPPSpec.model_validate(network_configs()[name])
    spec.check_size(32)
    with torch.device("meta"):
        network = spec.build()
    assert sum(p.numel() for p in network.parameters()) == COUNTS[name]
    out = network(torch.empty(1, 3, 32, 32, device="meta"), torch.empty(1, device="meta"))
    assert out.shape == (1, 3, 32, 32)


def test_the_deep_networks_have_twice_the_blocks() -> None:
    known = network_configs()
    for name in ("ddpmpp-cont", "ncsnpp-cont"):
        assert known[f"{name}-deep"] == {**known[name], "blocks": 2 * known[name]["blocks"]}


def test_sizes_that_cannot_be_halved_are_refused() -> None:
    spec = SPECS["ncsnpp"]
    spec.check_size(12)
    for size in (2, 10, 13):
        with pytest.raises(ValueError, match=f"size {size} must be a multiple of 4"):
            spec.check_size(size)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attention": (3,)}, "levels from 0 to 2"),
        ({"attention": (-1,)}, "levels from 0 to 2"),
        ({"width": 48}, "144 channels"),
        ({"width": 6}, "multiple of 4"),
        ({"dropout": 1.0}, "dropout"),
        ({"progressive_output": "residual"}, "progressive_output"),
        ({"fourier_scale": 0.0}, "fourier_scale"),
        ({"multipliers": ()}, "multipliers"),
        ({"base": 8}, "base"),
    ],
    ids=str,
)
def test_impossible_networks_are_refused(change: dict[str, object], message: str) -> None:
    NCSNPPSpec.model_validate({"width": 8, "multipliers": (1, 2, 2)})
    with pytest.raises(ValueError, match=message):
        NCSNPPSpec.model_validate({"width": 8, "multipliers": (1, 2, 2), **change})


@pytest.mark.parametrize("width", range(4, 132, 4))
def test_every_accepted_width_can_be_built(width: int) -> None:
    """Every width that is refused cannot be built."""
    try:
        spec = NCSNPPSpec(width=width, multipliers=(1, 2, 3), blocks=1)
    except ValueError:
        spec = NCSNPPSpec.model_construct(width=width, multipliers=(1, 2, 3), blocks=1)
        with torch.device("meta"), pytest.raises(ValueError, match="divisible"):
            NCSNPP(spec)
        return
    with torch.device("meta"):
        spec.build()

"""The RefineNet of NCSN and NCSNv2: number of parameters and receptive field from the tables."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.nn import functional

from medscore.nets.known import Network
from medscore.nets.ncsn import NCSNSpec
from medscore.nets.ncsnv2 import NCSNv2Spec
from medscore.nets.normalisation import CondInstanceNormPlus, InstanceNormPlus, NoNorm
from medscore.nets.refinenet_spec import RefineNetSpec

CONFIGS = Path(__file__).parents[3] / "configs" / "networks"
NAMED = sorted(path.name for kind in ("ncsn", "ncsnv2") for path in CONFIGS.glob(f"{kind}-*.yaml"))
FIRST, SECOND = "conv 128, res 128, res 128, down 256, res 256, ", "down 256, res 256, "
LAST = "refine 128, refine 128, conv 3"
A = (  # Tables B.7a and B.8a
    FIRST + "down 256 dilation 2, res 256 dilation 2, down 256 dilation 4, res 256 dilation 4, "
    "refine 256, refine 256, " + LAST
)
TOP = "down 512 dilation 2, res 512 dilation 2, down 512 dilation 4, res 512 dilation 4, "
B = FIRST + SECOND + TOP + "refine 512, refine 256, refine 256, " + LAST  # B.7b and B.8b
C = FIRST + 2 * SECOND + TOP + "refine 512, refine 256, refine 256, refine 256, " + LAST  # B.8c


def named(name: str) -> RefineNetSpec:
    return TypeAdapter(Network).validate_python(yaml.safe_load((CONFIGS / name).read_text()))


def rows(table: str) -> list[tuple[str, int, int]]:
    """Kind, channels and dilation of each row of a table."""
    split = [row.split() for row in table.split(", ")]
    return [(row[0], int(row[1]), int(row[3]) if len(row) > 2 else 1) for row in split]


def weights(table: str, image: int, norm: int, refine_norm: int) -> int:
    """The number of parameters; normalisations have ``norm`` and ``refine_norm`` per channel."""

    def conv(kernel: int, i: int, o: int, bias: int = 1) -> int:
        return kernel**2 * i * o + bias * o

    def unit(i: int) -> int:  # two convolutions: an RCU, and the chained residual pooling
        return 2 * (conv(3, i, i, bias=0) + refine_norm * i)

    total, width, stages, refined = conv(3, image, rows(table)[0][1]), rows(table)[0][1], [], 0
    for kind, o, dilation in rows(table)[1:-1]:
        if kind in ("res", "down"):
            total += 2 * norm * width + conv(3, width, width) + conv(3, width, o)
            total += (kind == "down") * conv(1 if dilation == 1 else 3, width, o)
            stages += [o] if kind == "res" else []
            width = o
        else:
            if not refined:  # the first has one input, the deepest stage
                stages.pop(0)  # the first stage has two plain blocks
                inputs = [stages.pop()]
            else:
                inputs = [stages.pop(), refined]
                total += sum(refine_norm * i + conv(3, i, o) for i in inputs)
            units_out = 1 if stages else 3
            total += sum(2 * unit(i) for i in inputs) + unit(o) + units_out * unit(o)
            refined = o
    return total + norm * refined + conv(3, refined, image)


@pytest.mark.parametrize(
    ("name", "table", "conditional", "count"),
    [
        ("ncsn-32", A, True, 30_117_635),
        ("ncsn-128", B, True, 84_183_811),
        ("ncsnv2-32", A, False, 29_694_083),
        ("ncsnv2-128", B, False, 83_445_379),
        ("ncsnv2-256", C, False, 94_132_611),
    ],
)
def test_a_named_configuration_has_the_tables_parameters(
    name: str, table: str, conditional: bool, count: int
) -> None:
    """``count`` is from the published networks (ermongroup/ncsn and ermongroup/ncsnv2)."""
    with torch.device("meta"):
        network = named(f"{name}.yaml").build()
    ours = sum(p.numel() for p in network.parameters())
    norm = 3 * 10 if conditional else 3
    assert ours == weights(table, 3, norm, norm if conditional else 0) == count


def test_mnist_is_table_b7a_with_half_the_filters_and_one_channel() -> None:
    halved = A.replace("128", "64").replace("256", "128").replace("conv 3", "conv 1")
    with torch.device("meta"):
        network = named("ncsn-mnist.yaml").build()
    assert sum(p.numel() for p in network.parameters()) == weights(halved, 1, 30, 30)


TABLED = sorted(p.name for p in CONFIGS.glob("ncsn*-*.yaml") if "pp" not in p.name)


@pytest.mark.parametrize("name", TABLED)
def test_every_named_configuration_takes_the_size_in_its_name(name: str) -> None:
    size = {"mnist": 28}.get(name[:-5].split("-")[1]) or int(name[:-5].split("-")[1])
    spec = named(name)
    spec.check_size(size)
    with torch.device("meta"):
        x = torch.zeros(1, spec.image_channels, size, size)
        assert spec.build()(x, torch.zeros(1)).shape == x.shape


def reach(table: str, size: int, pixel: int) -> tuple[int, int]:
    """First and last input pixel on one axis that output ``pixel`` depends on, from the table."""
    steps: list[tuple[str, int]] = [("conv", 1)]
    grids, first = [size], True
    for kind, _, dilation in rows(table)[1:-1]:
        if kind in ("res", "down"):
            steps += [("conv", dilation)] * 2
            grids += [grids[-1]] if kind == "down" else []
            if (kind, dilation) == ("down", 1):
                grids[-1] //= 2
                steps.append(("halve", 0))
            continue
        steps += [("conv", 1)] * 4
        if not first:
            coarse = grids.pop()
            steps += [("conv", 1)] + ([("double", coarse)] if grids[-1] > coarse else [])
        first = False
        steps += [("pool", 2), ("conv", 1)] * 2 + [("conv", 1)] * (2 if len(grids) > 1 else 6)
    low = high = pixel
    n = size
    for kind, value in reversed([*steps, ("conv", 1)]):
        if kind == "halve":
            low, high, n = 2 * low, 2 * high + 1, 2 * n
        elif kind == "double":  # align_corners: output p is at p (n - 1) / (2n - 1)
            low, high, n = low * (value - 1) // (n - 1), -(-high * (value - 1) // (n - 1)), value
        else:
            low, high = max(low - value, 0), min(high + value, n - 1)
    return low, high


def linearise(network: nn.Module) -> None:
    """Remove normalisations and biases and make all weights positive.

    On positive images ELU is then the identity, nothing cancels, and features increase along an
    axis wherever the image does.
    """
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, CondInstanceNormPlus | InstanceNormPlus):
                setattr(module, name, NoNorm(0))
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            if module.bias is not None:
                nn.init.zeros_(module.bias)


@pytest.mark.parametrize(
    ("name", "table", "size"),
    [
        ("ncsn-32.yaml", A, 400),
        ("ncsn-128.yaml", B, 800),
        ("ncsnv2-32.yaml", A, 400),
        ("ncsnv2-128.yaml", B, 800),
        ("ncsnv2-256.yaml", C, 1600),
    ],
)
def test_the_receptive_field_is_the_tables(name: str, table: str, size: int) -> None:
    """Max pooling has its gradient at one pixel: on an increasing image, the end of its window."""
    network = named(name).model_copy(update={"width": 1, "image_channels": 1}).build().double()
    linearise(network)
    low, high = reach(table, size, size // 2)
    assert 0 < low < high < size - 1  # the receptive field ends before the border
    rising = torch.linspace(1, 2, size, dtype=torch.float64).expand(1, 1, 8, size)
    ends = []
    for x in (rising.flip(3), rising):
        x = x.clone().requires_grad_()
        network(x, torch.zeros(1, dtype=torch.float64))[0, 0, 4, size // 2].backward()
        seen = x.grad[0, 0].sum(0).nonzero()
        ends.append((int(seen.min()), int(seen.max())))
    assert (min(ends)[0], max(e[1] for e in ends)) == (low, high)


def plain_forward(
    w: dict[str, Tensor], x: Tensor, level: int, pool: Callable[[Tensor], Tensor]
) -> Tensor:
    """The output of a RefineNet with two stages, computed from its weights."""

    def norm(name: str, h: Tensor) -> Tensor:
        if f"{name}.gamma" not in w:
            return h
        gamma, beta, alpha = (
            w[f"{name}.{p}"].reshape(-1, h.shape[1])[level] for p in ("gamma", "beta", "alpha")
        )
        mu = h.mean((0, 2, 3))
        shift = beta + alpha * (mu - mu.mean()) / (mu.var() + 1e-5).sqrt()
        return functional.instance_norm(h, weight=gamma, bias=shift)

    def elu(h: Tensor) -> Tensor:
        return torch.where(h > 0, h, torch.expm1(h))

    def conv(name: str, h: Tensor) -> Tensor:
        weight = w[f"{name}.weight"]
        return functional.conv2d(h, weight, w.get(f"{name}.bias"), padding=len(weight[0, 0]) // 2)

    def two(name: str, h: Tensor) -> Tensor:
        for j in (0, 1):
            h = conv(f"{name}.convs.{j}", elu(norm(f"{name}.norms.{j}", h)))
        return h

    def units(name: str, h: Tensor, count: int) -> Tensor:
        for k in range(count):
            h = h + two(f"{name}.{k}", h)
        return h

    def chained(name: str, h: Tensor) -> Tensor:
        h = elu(h)
        one = conv(f"{name}.convs.0", pool(norm(f"{name}.norms.0", h)))
        return h + one + conv(f"{name}.convs.1", pool(norm(f"{name}.norms.1", one)))

    def doubled(h: Tensor) -> Tensor:
        n = h.shape[-1]
        p = torch.arange(2 * n, dtype=h.dtype) * (n - 1) / (2 * n - 1)
        weight = (1 - (p[:, None] - torch.arange(n)).abs()).clamp_min(0)
        return weight @ h @ weight.T

    fine = units("stages.0", conv("first", x), 2)
    h = two("stages.1.0", fine) + conv("stages.1.0.shortcut", fine)
    h = sum(h[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4
    h = h + two("stages.1.1", h)
    h = units("refines.0.output", chained("refines.0.pooling", units("refines.0.adapt.0", h, 2)), 1)
    inputs = [units("refines.1.adapt.0", fine, 2), units("refines.1.adapt.1", h, 2)]
    first, second = (
        conv(f"refines.1.fuse.convs.{k}", norm(f"refines.1.fuse.norms.{k}", inputs[k]))
        for k in (0, 1)
    )
    h = units("refines.1.output", chained("refines.1.pooling", first + doubled(second)), 3)
    return conv("last", elu(norm("norm", h)))


@pytest.mark.parametrize("conditional", [True, False])
def test_two_stages_are_what_they_are_written_out(conditional: bool) -> None:
    sizes = {"width": 3, "multipliers": (1, 2), "dilations": (1, 1)}
    spec = NCSNSpec(levels=3, **sizes) if conditional else NCSNv2Spec(**sizes)
    network = spec.build().double()
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator).double() / 3
    weights = {k.removeprefix("body."): v for k, v in network.state_dict().items()}
    x = torch.randn(1, 1, 12, 12, generator=generator).double()
    out = network(x, torch.tensor([2.0], dtype=torch.float64))
    kind = functional.avg_pool2d if conditional else functional.max_pool2d
    expected = plain_forward(
        weights, x, 2 if conditional else 0, lambda h: kind(h, 5, stride=1, padding=2)
    )
    torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-10)

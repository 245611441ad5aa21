"""The fully convolutional U-Net: its stride, its bounded receptive field, and its conditions."""

import pytest
import torch
from local_networks import SMALL, images, local_unet
from pydantic import TypeAdapter
from torch import Tensor

from medscore.nets.local_unet import LocalUNetSpec
from medscore.nets.unet import UNetSpec
from medscore.priors.contract import Network

LEVELS = torch.tensor([-2.0, 0.5], dtype=torch.float64)
DEEP = LocalUNetSpec(channels=(4, 4, 4), blocks=(1, 2, 1), fold=1)
SPECS = [SMALL, LocalUNetSpec(channels=(6,), blocks=(2,), fold=3), DEEP]
each_spec = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{len(spec.channels)} levels")


@each_spec
def test_the_output_has_the_shape_of_the_images(spec: LocalUNetSpec) -> None:
    side = 4 * spec.stride
    output = local_unet(spec)(images(2, 1, side, side + spec.stride), LEVELS)
    assert output.shape == (2, 1, side, side + spec.stride)
    assert float(output.std()) > 0.1


@each_spec
def test_only_multiples_of_the_stride_are_taken(spec: LocalUNetSpec) -> None:
    assert spec.stride == spec.fold * 2 ** (len(spec.channels) - 1)
    spec.check_size(3 * spec.stride)
    for size in (spec.stride + 1, 3 * spec.stride - 1):
        with pytest.raises(ValueError, match=f"multiple of {spec.stride}"):
            spec.check_size(size)


def test_other_networks_find_their_stride_by_trial() -> None:
    assert UNetSpec().stride == 16
    assert UNetSpec().receptive_field is None


def inputs_of(spec: LocalUNetSpec, row: int, side: int) -> tuple[int, int]:
    """The first and last row that a pixel of the output depends on."""
    x = images(1, 1, side, side).requires_grad_()
    output = local_unet(spec)(x, LEVELS[:1])
    (gradient,) = torch.autograd.grad(output[0, 0, row, side // 2], x)
    rows = gradient[0, 0].abs().amax(1).nonzero()[:, 0]
    return int(rows[0]), int(rows[-1])


@each_spec
def test_the_receptive_field_is_the_region_that_a_pixel_depends_on(spec: LocalUNetSpec) -> None:
    """Measured by the gradient of every pixel of a stride, in the middle of a large image."""
    assert spec.receptive_field is not None
    side = 2 * spec.margin + spec.stride
    middle = spec.margin
    found = [inputs_of(spec, middle + i, side) for i in range(0, spec.stride, spec.fold)]
    assert max(last - first + 1 for first, last in found) == spec.receptive_field
    before, after = middle - found[0][0], found[-1][1] + 1 - middle - spec.stride
    assert spec.margin - spec.stride < max(before, after) <= spec.margin
    assert spec.margin % spec.stride == 0


def test_the_network_commutes_with_shifts_by_its_stride() -> None:
    network, x = local_unet(), images(1, 1, 96, 96)
    moved = torch.cat([x[:, :1].roll((4, -8), (2, 3)), x[:, 1:]], dim=1)
    inner = slice(44, 52)
    before, after = network(x, LEVELS[:1]).roll((4, -8), (2, 3)), network(moved, LEVELS[:1])
    torch.testing.assert_close(after[..., inner, inner], before[..., inner, inner])
    assert float((after - before).abs().max()) > 1e-3  # the border of the image counts


@pytest.mark.parametrize("position", [False, True])
def test_the_position_counts_only_if_the_network_uses_it(position: bool) -> None:
    spec = SMALL.model_copy(update={"position": position})
    assert spec.uses_position == position
    network, x = local_unet(spec), images(1, 1, 16, 16)
    elsewhere = x.clone()
    elsewhere[:, 2:] += 0.5
    same = torch.equal(network(x, LEVELS[:1]), network(elsewhere, LEVELS[:1]))
    assert same == (not position)


def test_noise_level_and_pixel_size_change_the_output() -> None:
    network, x = local_unet(), images(1, 1, 16, 16)
    first = network(x, LEVELS[:1])
    assert float((network(x, LEVELS[1:]) - first).abs().max()) > 1e-3
    coarser = images(1, 1, 16, 16, pixel_mm=2.0)
    assert float((network(coarser, LEVELS[:1]) - first).abs().max()) > 1e-3


def test_the_images_of_a_batch_do_not_see_each_other() -> None:
    network, x = local_unet(), images(2, 1, 16, 24)
    both = network(x, LEVELS)
    single = torch.cat([network(x[i : i + 1], LEVELS[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(both, single)


def test_an_untrained_network_returns_zero_and_every_weight_gets_a_gradient() -> None:
    spec = SMALL.model_copy(update={"position": True})
    torch.manual_seed(0)
    assert not spec.build()(images(2, 1, 16, 16).float(), LEVELS.float()).any()
    network = local_unet(spec).requires_grad_()
    loss: Tensor = network(images(2, 1, 16, 16), LEVELS).square().sum()
    loss.backward()
    still = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_a_specification_returns_from_json_and_must_be_consistent() -> None:
    spec = LocalUNetSpec(channels=(8, 12), blocks=(1, 3), fold=1, position=True)
    assert TypeAdapter(Network).validate_json(spec.model_dump_json()) == spec
    with pytest.raises(ValueError, match="must have 2 entries"):
        LocalUNetSpec(channels=(8, 12), blocks=(1,))

"""Tiles give the output for the whole image, within a memory budget."""

import pytest
import torch
from hypothesis import given, strategies as st
from local_networks import SMALL, images, local_unet
from torch import Tensor, nn

from medscore.nets.tiles import Tiled, spans, tiles

LEVELS = torch.tensor([-2.0, 0.5, -0.3])


class Seen(nn.Module):
    """A network that records the sizes of its inputs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.shapes = network, list[tuple[int, ...]]()

    def forward(self, u: Tensor, c: Tensor) -> Tensor:
        self.shapes.append((len(u), *u.shape[-2:]))
        found: Tensor = self.network(u, c)
        return found


def tiled(pixels: int, dtype: torch.dtype = torch.float32) -> tuple[Tiled, Seen]:
    """The small network with memory for a number of pixels."""
    seen = Seen(local_unet(dtype=dtype))
    return Tiled(seen, SMALL, pixels * SMALL.activation_bytes()), seen


@pytest.mark.parametrize("shape", [(160, 128), (128, 160), (128, 132)])
def test_tiles_equal_the_whole_image_in_bounded_memory(shape: tuple[int, int]) -> None:
    network, seen = tiled(112 * 112)
    u = images(1, 1, *shape, dtype=torch.float32)
    found = network(u, LEVELS[:1])
    assert len(seen.shapes) > 1
    assert max(rows * columns for _, rows, columns in seen.shapes) <= 112 * 112
    expected = seen.network(u, LEVELS[:1])
    assert float(expected.std()) > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_a_narrower_margin_would_not_be_enough() -> None:
    network, seen = tiled(112 * 112, torch.float64)
    u, c = images(1, 1, 160, 128), LEVELS[:1].double()
    expected = seen.network(u, c)
    torch.testing.assert_close(network(u, c), expected, rtol=0, atol=1e-11)
    network.margin -= SMALL.stride
    assert float((network(u, c) - expected).abs().max()) > 1e-9


@pytest.mark.parametrize(("pixels", "batches"), [(3 * 32 * 32, [3]), (2 * 32 * 32, [2, 1])])
def test_a_batch_is_split_before_the_images_are(pixels: int, batches: list[int]) -> None:
    network, seen = tiled(pixels)
    u = images(3, 1, 32, 32, dtype=torch.float32)
    found = network(u, LEVELS)
    assert seen.shapes == [(n, 32, 32) for n in batches]
    torch.testing.assert_close(found, seen.network(u, LEVELS), rtol=0, atol=1e-5)


def test_the_gradient_through_tiles_is_that_of_the_whole_image() -> None:
    pixels = 96 * 96 * SMALL.activation_bytes(True) // SMALL.activation_bytes()
    network, seen = tiled(pixels, torch.float64)
    u, c = images(1, 1, 128, 112), LEVELS[:1].double()
    weights = images(1, 1, 128, 112, seed=1)[:, :1]
    gradients = []
    for part in (network, seen.network):
        x = u.clone().requires_grad_()
        gradients.append(torch.autograd.grad((weights * part(x, c)).sum(), x)[0][:, :1])
    assert len(seen.shapes) > 2
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-10)


@given(
    blocks=st.integers(1, 60), count=st.integers(1, 12), stride=st.sampled_from([1, 4, 16]),
    margin=st.integers(0, 10),
)  # fmt: skip
def test_spans_cover_an_axis_once_on_the_stride(
    blocks: int, count: int, stride: int, margin: int
) -> None:
    length, count, margin = blocks * stride, min(count, blocks), margin * stride
    found = spans(length, count, stride, margin)
    assert [i for s in found for i in range(s.first, s.last)] == list(range(length))
    assert len({span.width for span in found}) == 1
    assert found[0].width <= min(length, stride * -(-blocks // count) + 2 * margin)
    for span in found:
        assert span.first % stride == span.last % stride == span.begin % stride == 0
        assert 0 <= span.begin <= max(0, span.first - margin)
        assert min(length, span.last + margin) <= span.end <= length


def test_the_split_evaluates_the_fewest_pixels_that_fit() -> None:
    """Of one, two and three tiles along an axis of 300 pixels, two fit into 200 x 100 pixels."""
    rows, columns = tiles((300, 100), 20_000, 10, 50)
    assert (len(rows), len(columns)) == (2, 1)
    assert [span.width for span in rows] == [200, 200]
    assert tiles((300, 100), 30_000, 10, 50)[0] == spans(300, 1, 10, 50)


def test_tiles_are_no_smaller_than_twice_the_margin_where_none_fit() -> None:
    rows, columns = tiles((640, 640), 1, 16, 64)
    assert min(span.last - span.first for span in (*rows, *columns)) >= 128
    assert len(rows) == len(columns) == 5

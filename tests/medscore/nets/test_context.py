"""Context maps: the pixel size and the position of each pixel, against values by hand."""

import math

import pytest
import torch
from local_networks import images, local_unet
from torch import Tensor, nn

from medscore.nets.context import InContext, context_maps


def test_the_maps_hold_the_log_pixel_size_and_the_position_from_the_centre() -> None:
    """Two rows and four columns of 50 mm: centres at -75, -25, 25 and 75 mm of 250 mm."""
    maps = context_maps((2, 4), 50.0)
    right = torch.tensor([-0.3, -0.1, 0.1, 0.3])
    down = torch.tensor([-0.1, 0.1])
    assert maps.shape == (1, 3, 2, 4)
    torch.testing.assert_close(maps[0, 0], torch.full((2, 4), math.log(50.0)))
    torch.testing.assert_close(maps[0, 1], right.expand(2, 4))
    torch.testing.assert_close(maps[0, 2], down[:, None].expand(2, 4))


@pytest.mark.parametrize("shape", [(5, 8), (8, 5)])
def test_the_field_of_view_counts_and_not_the_number_of_pixels(shape: tuple[int, int]) -> None:
    coarse = context_maps(shape, 2.0)[:, 1:]
    fine = context_maps((2 * shape[0], 2 * shape[1]), 1.0)[:, 1:]
    torch.testing.assert_close(nn.functional.avg_pool2d(fine, 2), coarse)


def test_a_network_in_context_receives_the_maps_behind_the_images() -> None:
    seen: list[Tensor] = []

    class Recorder(nn.Module):
        def forward(self, x: Tensor, c: Tensor) -> Tensor:
            seen.append(x)
            return x[:, :1]

    u, maps = torch.randn(3, 1, 4, 6), context_maps((4, 6), 0.7)
    assert torch.equal(InContext(Recorder(), maps)(u, torch.zeros(3)), u)
    assert torch.equal(seen[0], torch.cat([u, maps.expand(3, -1, -1, -1)], dim=1))


def test_each_image_can_have_its_own_maps_and_the_maps_are_not_saved() -> None:
    network, x = local_unet(), images(2, 1, 16, 16)
    x[1, 1] = math.log(2.0)
    c = torch.tensor([-1.0, -1.0], dtype=torch.float64)
    placed = InContext(network, x[:, 1:])
    torch.testing.assert_close(placed(x[:, :1], c), network(x, c))
    assert set(placed.state_dict()) == {f"network.{name}" for name in network.state_dict()}

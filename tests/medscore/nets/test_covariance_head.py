"""Heads on networks of every kind: what they read, and that the network's output stays as it is."""

from __future__ import annotations

import pytest
import torch
from local_networks import randomised
from torch import Tensor, nn

from medscore.nets.covariance_head import WithHead, head_spec, last_layer
from medscore.nets.local_unet import LocalUNetSpec
from medscore.nets.monai_unet import MonaiUNetSpec
from medscore.nets.spec import NetworkSpec
from medscore.nets.unet import UNetSpec
from medscore.uncertainty.low_rank import DiagonalLowRank

KNOWN: dict[str, tuple[NetworkSpec, int]] = {
    "local-unet": (LocalUNetSpec(channels=(8, 8), blocks=(1, 1), image_channels=2), 2),
    "unet": (UNetSpec(channels=(8, 16), groups=4), 2),
    "monai": (
        MonaiUNetSpec(
            channels=(8, 16), attention_levels=(False, False), res_blocks=(1, 1),
            norm_num_groups=4, num_head_channels=8,
        ),
        1,
    ),
}  # fmt: skip


class Foreign(nn.Module):
    """A network whose last layer is not known."""

    def forward(self, u: Tensor, c: Tensor) -> Tensor:
        return torch.tanh(u) * c[:, None, None, None]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*KNOWN, "foreign"])
def test_the_output_of_the_network_is_bitwise_unchanged(kind: str) -> None:
    torch.manual_seed(0)
    spec, fold = KNOWN.get(kind, (None, 1))
    network = Foreign() if spec is None else randomised(spec.build()).eval()
    channels = 2 if kind == "local-unet" else 1
    head = randomised(head_spec(network, channels, 0.3, 3, 16).build())
    assert head.spec.fold == fold  # type: ignore[union-attr]
    assert head.spec.features == (None if spec is None else 8)  # type: ignore[union-attr]
    maps = 0 if spec is None else spec.maps
    u, c = torch.randn(2, channels + maps, 16, 24), torch.tensor([-1.0, 0.5])
    with torch.no_grad():
        output, both = network(u, c), WithHead(network, head)(u, c)  # type: ignore[arg-type]
    assert torch.equal(both[:, :channels], output)
    assert both.shape == (2, 5 * channels, 16, 24)
    assert float(both[:, channels:].std()) > 1e-3
    layer = last_layer(network)
    assert layer is None or not layer._forward_pre_hooks


@pytest.mark.parametrize("rank", [0, 2])
def test_an_untrained_head_predicts_the_variance_of_white_data(rank: int) -> None:
    """d^2 s^2 / (d^2 + s^2) at every pixel, of which the vectors have a small share."""
    torch.manual_seed(0)
    head = head_spec(Foreign(), 1, 0.3, rank, 16).build()
    ratio = torch.tensor([0.01, 0.3, 10.0])
    covariance = head.covariance(head(torch.randn(3, 2, 8, 8)), ratio)
    expected = (0.09 * ratio**2 / (0.09 + ratio**2))[:, None, None, None].expand(3, 1, 8, 8)
    assert isinstance(covariance, DiagonalLowRank)
    torch.testing.assert_close(covariance.marginal, expected)
    assert covariance.rank == rank
    assert bool((covariance.diagonal > 0.8 * expected).all())


def test_an_untrained_head_of_blocks_predicts_the_covariance_of_white_data() -> None:
    torch.manual_seed(0)
    head = head_spec(Foreign(), 2, 0.3, 0, 16, blocks=True).build()
    maps = head(torch.randn(3, 4, 8, 10))
    assert maps.shape == (3, 32, 8, 10)
    covariance, x = head.covariance(maps, torch.tensor([0.01, 0.3, 10.0])), torch.randn(3, 2, 8, 10)
    ratio = torch.tensor([0.01, 0.3, 10.0])[:, None, None, None]
    expected = 0.09 * ratio**2 / (0.09 + ratio**2)
    torch.testing.assert_close(covariance.marginal, expected.expand(3, 2, 8, 10))
    torch.testing.assert_close(covariance.product(x), expected * x)

r"""Context maps of images: the pixel size and the position, which some networks are conditioned on.

The maps lie behind the image's channels: the logarithm of the pixel size in mm, which is the same
everywhere, and the coordinates of each pixel, to the right and down from the centre of the field of
view, in units of :data:`POSITION_MM` (position as in PaDIS, Hu et al. 2024).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

POSITION_MM = 250.0
"""Distance from the centre of the field of view, in mm, that has the coordinate 1."""

MAPS = 3
"""Number of context maps: log pixel size and two coordinates."""


def context_maps(shape: tuple[int, int], pixel_mm: float) -> Tensor:
    """The context maps of whole images, (1, 3, H, W).

    Args:
        shape: rows and columns.
        pixel_mm: pixel size in mm.
    """
    y, x = ((torch.arange(n) + 0.5 - n / 2) * (pixel_mm / POSITION_MM) for n in shape)
    down, right = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([torch.full(shape, math.log(pixel_mm)), right, down])[None]


class InContext(nn.Module):
    """A network on images with known context maps.

    Args:
        network: the network F(u, c), whose images u carry context maps behind their channels.
        maps: context maps of all images or of each, (1 or batch, 3, H, W).
    """

    def __init__(self, network: nn.Module, maps: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("maps", maps, persistent=False)
        self.maps: Tensor

    def forward(self, u: Tensor, c: Tensor) -> Tensor:
        """The output of the network, of the shape of ``u``.

        Args:
            u: images (batch, channel, H, W).
            c: time variable of each image, (batch,).
        """
        maps = self.maps.to(u).expand(len(u), *self.maps.shape[1:])
        output: Tensor = self.network(torch.cat([u, maps], dim=1), c)
        return output

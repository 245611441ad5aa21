r"""Downsampling and upsampling by two, with or without an anti-aliasing filter (B.5.8).

With k the outer product of [1, 3, 3, 1]/8 with itself, and images padded with zeros,

.. math:: (D x)_i = \sum_{j=0}^{3} k_j\, x_{2i + j - 1}, \qquad U = 4 D^T,

along either axis, as in StyleGAN-2 (Karras et al. 2020). Both preserve constants away from the
border. Without the filter, downsampling is the mean of 2 x 2 pixels and upsampling repeats pixels;
again U = 4 D^T.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from medscore.types import Images

ResizedImages = Float[Tensor, "batch channel new_height new_width"]

TAPS = (1.0, 3.0, 3.0, 1.0)


def _kernel(x: Tensor) -> Tensor:
    """k once per channel of ``x``, (channel, 1, 4, 4); exact in half precision."""
    taps = torch.tensor(TAPS, dtype=x.dtype, device=x.device) / sum(TAPS)
    return torch.outer(taps, taps).expand(x.shape[1], 1, len(TAPS), len(TAPS))


def fir_down(x: Images) -> ResizedImages:
    """D x: filter, then keep every other pixel.

    Args:
        x: images (batch, channel, H, W) with even sides.
    """
    return functional.conv2d(x, _kernel(x), stride=2, padding=1, groups=x.shape[1])


def fir_up(x: Images) -> ResizedImages:
    """U x: insert zeros between the pixels, then filter.

    Args:
        x: images (batch, channel, H, W).
    """
    return functional.conv_transpose2d(x, 4 * _kernel(x), stride=2, padding=1, groups=x.shape[1])


def fir_lead(x: Images) -> ResizedImages:
    """Filter at full resolution, in preparation for an unpadded 3 x 3 convolution with stride two.

    The result is one pixel larger on each axis, so that the convolution halves the image
    (StyleGAN-2's fused downsampling).

    Args:
        x: images (batch, channel, H, W) with even sides.
    """
    return functional.conv2d(x, _kernel(x), padding=2, groups=x.shape[1])


def plain_down(x: Images) -> ResizedImages:
    """The mean of each block of 2 x 2 pixels.

    Args:
        x: images (batch, channel, H, W) with even sides.
    """
    return functional.avg_pool2d(x, 2)


def plain_up(x: Images) -> ResizedImages:
    """Repeat each pixel 2 x 2 times.

    Args:
        x: images (batch, channel, H, W).
    """
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def plain_lead(x: Images) -> ResizedImages:
    """Append a row and a column of zeros, in preparation for an unpadded 3 x 3 convolution with
    stride two, which then halves the image (DDPM's downsampling).

    Args:
        x: images (batch, channel, H, W) with even sides.
    """
    return functional.pad(x, (0, 1, 0, 1))


class Resampling(NamedTuple):
    """A way to resample images by two.

    Attributes:
        down: downsampling.
        up: upsampling.
        lead: preparation for an unpadded 3 x 3 convolution with stride two.
    """

    down: Callable[[Tensor], Tensor]
    up: Callable[[Tensor], Tensor]
    lead: Callable[[Tensor], Tensor]


FIR = Resampling(fir_down, fir_up, fir_lead)
PLAIN = Resampling(plain_down, plain_up, plain_lead)

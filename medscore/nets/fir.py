r"""Halving and doubling images: with an anti-aliasing filter, or plainly (Song et al. 2022, B.5.8).

With k the outer product of [1, 3, 3, 1]/8 with itself and zeros outside the image,

.. math:: (D x)_i = \sum_{j=0}^{3} k_j\, x_{2i + j - 1}, \qquad U = 4 D^T,

along either axis: the resampling of StyleGAN-2 (Karras et al. 2020). Both keep constants, away
from the border. The plain pair is the mean of 2 x 2 pixels and their repetition; U = 4 D^T there
too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from medscore.types import Images

Resized = Float[Tensor, "batch channel new_height new_width"]

TAPS = (1.0, 3.0, 3.0, 1.0)


def _kernel(x: Tensor) -> Tensor:
    """k once per channel of ``x``, (channel, 1, 4, 4); exact in half precision."""
    taps = torch.tensor(TAPS, dtype=x.dtype, device=x.device) / sum(TAPS)
    return torch.outer(taps, taps).expand(x.shape[1], 1, len(TAPS), len(TAPS))


def fir_down(x: Images) -> Resized:
    """D x: filtered, then every other pixel."""
    return functional.conv2d(x, _kernel(x), stride=2, padding=1, groups=x.shape[1])


def fir_up(x: Images) -> Resized:
    """U x: zeros in between, then filtered."""
    return functional.conv_transpose2d(x, 4 * _kernel(x), stride=2, padding=1, groups=x.shape[1])


def fir_lead(x: Images) -> Resized:
    """Filtered at full size, one pixel larger on each axis: an unpadded 3 x 3 convolution of stride
    two behind it halves the image (StyleGAN-2's fused downsampling).
    """
    return functional.conv2d(x, _kernel(x), padding=2, groups=x.shape[1])


def plain_down(x: Images) -> Resized:
    """The mean of 2 x 2 pixels."""
    return functional.avg_pool2d(x, 2)


def plain_up(x: Images) -> Resized:
    """Each pixel 2 x 2 times."""
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def plain_lead(x: Images) -> Resized:
    """A row and a column of zeros at the end: an unpadded 3 x 3 convolution of stride two behind it
    halves the image (DDPM's downsampling).
    """
    return functional.pad(x, (0, 1, 0, 1))


class Resampling(NamedTuple):
    """How images are halved, doubled, and prepared for a 3 x 3 convolution of stride two."""

    down: Callable[[Tensor], Tensor]
    up: Callable[[Tensor], Tensor]
    lead: Callable[[Tensor], Tensor]


FIR = Resampling(fir_down, fir_up, fir_lead)
PLAIN = Resampling(plain_down, plain_up, plain_lead)

r"""Residual blocks and self-attention of DDPM and NCSN++ (Ho et al. 2020; Song et al. 2022, B.5.8).

.. math:: h = C_0\, a(N(C_1\, R\, a(N(x)) + L c)), \qquad y = \lambda (S R x + h),

with a the swish, N group normalisation, C_1 and C_0 convolutions (C_0 starts near zero), L c the
condition's share, S a 1 x 1 convolution or nothing, and lambda 1 or 1/sqrt(2). Without R this is
DDPM's block; with R, which halves or doubles the image inside the block, BigGAN's (Brock et al.
2019).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, cast

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from medscore.nets.fir import Resampling
from medscore.types import Images

Condition = Float[Tensor, "batch condition"]
Changed = Float[Tensor, "batch new_channel new_height new_width"]
Weighted = TypeVar("Weighted", nn.Conv2d, nn.Linear)

ZERO = 1e-10
"""Variance that stands for none, as in DDPM: the weight starts near zero, not at it."""


def initialise(layer: Weighted, scale: float = 1.0) -> Weighted:
    """Uniform weights of variance ``scale`` over the mean of fan in and out (DDPM); no bias."""
    area = math.prod(layer.weight.shape[2:])
    fan = area * (layer.weight.shape[0] + layer.weight.shape[1]) / 2
    bound = math.sqrt(3 * scale / fan)
    nn.init.uniform_(layer.weight, -bound, bound)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def convolution(into: int, out: int, size: int = 3, *, scale: float = 1.0) -> nn.Conv2d:
    """A convolution that keeps the image size."""
    return initialise(nn.Conv2d(into, out, size, padding=size // 2), scale)


def groups(channels: int) -> int:
    """Groups of the normalisation: of four channels or more, 32 at most."""
    return min(channels // 4, 32)


def normalisation(channels: int) -> nn.GroupNorm:
    """Group normalisation, applied before every convolution but the first."""
    return nn.GroupNorm(groups(channels), channels, eps=1e-6)


@dataclass(frozen=True)
class BlockStyle:
    """What all blocks of a network share.

    Attributes:
        condition: features of the condition.
        dropout: probability, between the convolutions of a block.
        skip: lambda above, by which every sum with a skip connection is multiplied.
        shortcut: initial variance of S, as ``scale`` of :func:`initialise`.
        resampling: how the image is halved and doubled.
    """

    condition: int
    dropout: float
    skip: float
    shortcut: float
    resampling: Resampling


class ResidualBlock(nn.Module):
    """The block above, from ``into`` to ``out`` channels.

    Args:
        resample: R, which changes the image size; none in DDPM's block.
    """

    def __init__(
        self,
        into: int,
        out: int,
        style: BlockStyle,
        resample: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.resample, self.skip = resample, style.skip
        self.norm_in = normalisation(into)
        self.conv_in = convolution(into, out)
        self.condition = initialise(nn.Linear(style.condition, out))
        self.norm_out = normalisation(out)
        self.dropout = nn.Dropout(style.dropout)
        self.conv_out = convolution(out, out, scale=ZERO)
        self.shortcut: nn.Module = nn.Identity()
        if into != out or resample is not None:
            self.shortcut = convolution(into, out, 1, scale=style.shortcut)

    def forward(self, x: Images, condition: Condition) -> Changed:
        """Args: x; condition (batch, condition), the embedded c after its activation."""
        h = functional.silu(self.norm_in(x))
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        h = self.conv_in(h) + self.condition(condition)[:, :, None, None]
        h = self.conv_out(self.dropout(functional.silu(self.norm_out(h))))
        return cast(Changed, self.skip * (self.shortcut(x) + h))


class Attention(nn.Module):
    """Self-attention over all pixels, one head, around which there is a skip connection."""

    def __init__(self, channels: int, skip: float) -> None:
        super().__init__()
        self.skip = skip
        self.norm = normalisation(channels)
        self.query = convolution(channels, channels, 1, scale=0.1)
        self.key = convolution(channels, channels, 1, scale=0.1)
        self.value = convolution(channels, channels, 1, scale=0.1)
        self.out = convolution(channels, channels, 1, scale=ZERO)

    def forward(self, x: Images) -> Images:
        """Each pixel takes from all others what its query finds."""
        h = self.norm(x)
        q, k, v = (
            layer(h).flatten(2).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        found = functional.scaled_dot_product_attention(q, k, v)  # over sqrt(channels)
        h = self.out(found.transpose(1, 2).reshape(x.shape))
        return cast(Images, self.skip * (x + h))


class StridedConvolution(nn.Module):
    """Halves the image by a 3 x 3 convolution of stride two: DDPM's way down."""

    def __init__(self, into: int, out: int, resampling: Resampling) -> None:
        super().__init__()
        self.lead = resampling.lead
        self.conv = initialise(nn.Conv2d(into, out, 3, stride=2))

    def forward(self, x: Images, condition: Condition | None = None) -> Changed:
        """The halved image; the condition, for which a residual block asks, is unused."""
        return cast(Changed, self.conv(self.lead(x)))


class UpConvolution(nn.Module):
    """Doubles the image, then convolves it: DDPM's way up."""

    def __init__(self, channels: int, resampling: Resampling) -> None:
        super().__init__()
        self.up = resampling.up
        self.conv = convolution(channels, channels)

    def forward(self, x: Images, condition: Condition | None = None) -> Changed:
        """The doubled image; the condition, for which a residual block asks, is unused."""
        return cast(Changed, self.conv(self.up(x)))

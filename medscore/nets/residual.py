r"""Residual blocks and self-attention of DDPM and NCSN++ (Ho et al. 2020; Song et al. 2022, B.5.8).

.. math:: h = C_0\, a(N(C_1\, R\, a(N(x)) + L c)), \qquad y = \lambda (S R x + h),

with a the swish, N group normalisation, C_1 and C_0 convolutions (C_0 starts near zero), L a linear
layer of the condition c, S a 1 x 1 convolution or the identity, and lambda 1 or 1/sqrt(2). Without
R this is DDPM's block; with R, a resampling by two inside the block, it is BigGAN's (Brock et al.
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
OutputFeatures = Float[Tensor, "batch new_channel new_height new_width"]
Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)

ZERO = 1e-10
"""Variance in place of zero, as in DDPM: such weights start near zero, not at zero."""


def initialise(layer: Layer, scale: float = 1.0) -> Layer:
    """Initialise a layer as in DDPM: uniform weights, and zero bias.

    Args:
        layer: the layer, changed in place.
        scale: variance of the weights times the mean of fan-in and fan-out.
    """
    area = math.prod(layer.weight.shape[2:])
    fan = area * (layer.weight.shape[0] + layer.weight.shape[1]) / 2
    bound = math.sqrt(3 * scale / fan)
    nn.init.uniform_(layer.weight, -bound, bound)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def convolution(into: int, out: int, size: int = 3, *, scale: float = 1.0) -> nn.Conv2d:
    """A convolution that keeps the image size.

    Args:
        into: input channels.
        out: output channels.
        size: side of the kernel, odd.
        scale: variance of the initial weights (:func:`initialise`).
    """
    return initialise(nn.Conv2d(into, out, size, padding=size // 2), scale)


def groups(channels: int) -> int:
    """The number of groups of a normalisation: at most 32, of at least four channels each.

    Args:
        channels: channels of the features.
    """
    return min(channels // 4, 32)


def normalisation(channels: int) -> nn.GroupNorm:
    """The group normalisation that precedes every convolution but the first.

    Args:
        channels: channels of the features.
    """
    return nn.GroupNorm(groups(channels), channels, eps=1e-6)


@dataclass(frozen=True)
class BlockStyle:
    """Settings that all blocks of a network have in common.

    Attributes:
        condition: features of the embedded condition.
        dropout: dropout probability between the convolutions of a block.
        skip: lambda above, the factor of every sum with a skip connection.
        shortcut: initial variance of S, as ``scale`` of :func:`initialise`.
        resampling: how images are downsampled and upsampled.
    """

    condition: int
    dropout: float
    skip: float
    shortcut: float
    resampling: Resampling


class ResidualBlock(nn.Module):
    """The block above.

    Args:
        into: input channels.
        out: output channels.
        style: common settings of the blocks.
        resample: R, which changes the image size; None in DDPM's block.
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

    def forward(self, x: Images, condition: Condition) -> OutputFeatures:
        """The output of the block, (batch, out, H', W').

        Args:
            x: features (batch, into, H, W).
            condition: embedded condition after its activation, (batch, condition).
        """
        h = functional.silu(self.norm_in(x))
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        h = self.conv_in(h) + self.condition(condition)[:, :, None, None]
        h = self.conv_out(self.dropout(functional.silu(self.norm_out(h))))
        return cast(OutputFeatures, self.skip * (self.shortcut(x) + h))


class Attention(nn.Module):
    """Self-attention over all pixels with one head and a skip connection.

    Args:
        channels: channels of the features.
        skip: factor of the sum with the skip connection.
    """

    def __init__(self, channels: int, skip: float) -> None:
        super().__init__()
        self.skip = skip
        self.norm = normalisation(channels)
        self.query = convolution(channels, channels, 1, scale=0.1)
        self.key = convolution(channels, channels, 1, scale=0.1)
        self.value = convolution(channels, channels, 1, scale=0.1)
        self.out = convolution(channels, channels, 1, scale=ZERO)

    def forward(self, x: Images) -> Images:
        """Features of the same shape.

        Args:
            x: features (batch, channel, H, W).
        """
        h = self.norm(x)
        q, k, v = (
            layer(h).flatten(2).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        found = functional.scaled_dot_product_attention(q, k, v)  # scaled by 1/sqrt(channels)
        h = self.out(found.transpose(1, 2).reshape(x.shape))
        return cast(Images, self.skip * (x + h))


class StridedConvolution(nn.Module):
    """Downsampling by a 3 x 3 convolution with stride two, as in DDPM.

    Args:
        into: input channels.
        out: output channels.
        resampling: prepares the image for the convolution.
    """

    def __init__(self, into: int, out: int, resampling: Resampling) -> None:
        super().__init__()
        self.lead = resampling.lead
        self.conv = initialise(nn.Conv2d(into, out, 3, stride=2))

    def forward(self, x: Images, condition: Condition | None = None) -> OutputFeatures:
        """The downsampled features.

        Args:
            x: features (batch, into, H, W).
            condition: not used; present so that residual blocks can take this layer's place.
        """
        return cast(OutputFeatures, self.conv(self.lead(x)))


class UpConvolution(nn.Module):
    """Upsampling followed by a convolution, as in DDPM.

    Args:
        channels: channels of the features.
        resampling: upsamples the image.
    """

    def __init__(self, channels: int, resampling: Resampling) -> None:
        super().__init__()
        self.up = resampling.up
        self.conv = convolution(channels, channels)

    def forward(self, x: Images, condition: Condition | None = None) -> OutputFeatures:
        """The upsampled features.

        Args:
            x: features (batch, channel, H, W).
            condition: not used; present so that residual blocks can take this layer's place.
        """
        return cast(OutputFeatures, self.conv(self.up(x)))

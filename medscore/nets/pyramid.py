"""The levels of the U-Net of NCSN++ and DDPM++, with its progressive architectures (B.5.8).

Progressive input: a pyramid of the noisy image is added to the features after each downsampling,
through a 1 x 1 convolution ("input skip") or a strided convolution ("residual"). Progressive
output: every level adds an image to a pyramid whose finest level is the output ("output skip").
Names and definitions are those of StyleGAN-2 (Karras et al. 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from jaxtyping import Float
from torch import Tensor, cat, nn

from medscore.nets.residual import (
    ZERO,
    Attention,
    BlockStyle,
    Condition,
    ResidualBlock,
    StridedConvolution,
    convolution,
    normalisation,
)
from medscore.types import Images

Pyramid = Float[Tensor, "batch pyramid pyramid_height pyramid_width"]
"""An image whose size and channels differ from those of the features."""


class InputSkip(nn.Module):
    """Adds a 1 x 1 convolution of the downsampled image to the features.

    Args:
        image_channels: channels of the image.
        channels: channels of the features.
        style: common settings of the blocks.
    """

    def __init__(self, image_channels: int, channels: int, style: BlockStyle) -> None:
        super().__init__()
        self.down = style.resampling.down
        self.conv = convolution(image_channels, channels, 1)

    def forward(self, pyramid: Pyramid, h: Images) -> tuple[Tensor, Tensor]:
        """The next image of the pyramid, and the sum with the features.

        Args:
            pyramid: image of the finer level.
            h: features (batch, channel, H, W), already downsampled.
        """
        pyramid = self.down(pyramid)
        return pyramid, h + self.conv(pyramid)


class InputResidual(nn.Module):
    """Adds a strided convolution of the pyramid to the features; the sum is the next pyramid.

    Args:
        into: channels of the pyramid.
        channels: channels of the features.
        style: common settings of the blocks.
    """

    def __init__(self, into: int, channels: int, style: BlockStyle) -> None:
        super().__init__()
        self.skip = style.skip
        self.down = StridedConvolution(into, channels, style.resampling)

    def forward(self, pyramid: Pyramid, h: Images) -> tuple[Tensor, Tensor]:
        """The next image of the pyramid, which is also the sum with the features.

        Args:
            pyramid: image of the finer level.
            h: features (batch, channel, H, W), already downsampled.
        """
        h = self.skip * (self.down(pyramid) + h)
        return h, h


def to_image(channels: int, image_channels: int) -> nn.Sequential:
    """Layers from features to an image, which is nearly zero before training.

    Args:
        channels: channels of the features.
        image_channels: channels of the image.
    """
    return nn.Sequential(
        normalisation(channels), nn.SiLU(), convolution(channels, image_channels, scale=ZERO)
    )


@dataclass(frozen=True)
class Way:
    """The way from one level to the next.

    Attributes:
        resample: downsampling or upsampling of the features; None at the last level.
        pyramid: the part of the input or output pyramid, if any.
    """

    resample: nn.Module | None = None
    pyramid: nn.Module | None = None


class EncoderLevel(nn.Module):
    """Residual blocks at one resolution, and the way to the next coarser level.

    Args:
        into: input channels.
        out: output channels.
        blocks: number of residual blocks.
        attention: whether each block is followed by attention.
        style: common settings of the blocks.
        down: way to the next level; empty at the coarsest.
    """

    def __init__(
        self, into: int, out: int, *, blocks: int, attention: bool, style: BlockStyle, down: Way
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            ResidualBlock(out if i else into, out, style) for i in range(blocks)
        )
        self.attention = nn.ModuleList(
            Attention(out, style.skip) if attention else nn.Identity() for _ in range(blocks)
        )
        self.down, self.pyramid = down.resample, down.pyramid

    def forward(
        self, h: Images, condition: Condition, pyramid: Pyramid
    ) -> tuple[list[Tensor], Tensor]:
        """The features for the decoder, the last of which are the output, and the next pyramid.

        Args:
            h: features (batch, channel, H, W).
            condition: embedded condition of each image.
            pyramid: input pyramid at this level.
        """
        skips: list[Tensor] = []
        for block, attention in zip(self.blocks, self.attention, strict=True):
            h = attention(block(h, condition))
            skips.append(h)
        if self.down is not None:
            h = self.down(h, condition)
            if self.pyramid is not None:
                pyramid, h = self.pyramid(pyramid, h)
            skips.append(h)
        return skips, pyramid


class Middle(nn.Module):
    """Block, attention and block at the coarsest resolution.

    Args:
        channels: channels of the features.
        style: common settings of the blocks.
    """

    def __init__(self, channels: int, style: BlockStyle) -> None:
        super().__init__()
        self.block_in = ResidualBlock(channels, channels, style)
        self.attention = Attention(channels, style.skip)
        self.block_out = ResidualBlock(channels, channels, style)

    def forward(self, h: Images, condition: Condition) -> Images:
        """Features of the same shape.

        Args:
            h: features (batch, channel, H, W).
            condition: embedded condition of each image.
        """
        h = self.attention(self.block_in(h, condition))
        return cast(Images, self.block_out(h, condition))


class DecoderLevel(nn.Module):
    """Residual blocks with skip connections from the encoder, and the way to the next finer level.

    Args:
        into: input channels of each block, including those of the skip connection.
        out: output channels.
        attention: whether the last block is followed by attention.
        style: common settings of the blocks.
        up: way to the next level; its pyramid is a :func:`to_image`.
    """

    def __init__(
        self, into: Sequence[int], out: int, *, attention: bool, style: BlockStyle, up: Way
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ResidualBlock(width, out, style) for width in into)
        self.attention = Attention(out, style.skip) if attention else nn.Identity()
        self.up, self.to_image = up.resample, up.pyramid
        self.enlarge = style.resampling.up

    def forward(
        self, h: Images, skips: list[Tensor], condition: Condition, image: Pyramid | None
    ) -> tuple[Tensor, Tensor | None]:
        """Features at the next level, and the output pyramid.

        Args:
            h: features (batch, channel, H, W).
            skips: features of the encoder; those used are removed from the end of the list.
            condition: embedded condition of each image.
            image: output pyramid so far; None before its first level.
        """
        for block in self.blocks:
            h = block(cat([h, skips.pop()], dim=1), condition)
        h = self.attention(h)
        if self.to_image is not None:
            part = self.to_image(h)
            image = part if image is None else self.enlarge(image) + part
        if self.up is not None:
            h = self.up(h, condition)
        return h, image

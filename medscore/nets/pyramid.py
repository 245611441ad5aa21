"""The levels of the U-Net of NCSN++ and DDPM++, with its progressive architectures (B.5.8).

Progressive input: a pyramid of the noisy image joins the features after each halving, through a
1 x 1 convolution ("input skip") or as the skip connection of a residual ("residual"). Progressive
output: every level adds its share to a pyramid of the result ("output skip"). Their names and
definitions are StyleGAN-2's (Karras et al. 2020).
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
"""An image of another size and other channels than the features it meets."""


class InputSkip(nn.Module):
    """Adds a 1 x 1 convolution of the halved image to the features."""

    def __init__(self, image_channels: int, channels: int, style: BlockStyle) -> None:
        super().__init__()
        self.down = style.resampling.down
        self.conv = convolution(image_channels, channels, 1)

    def forward(self, pyramid: Pyramid, h: Images) -> tuple[Tensor, Tensor]:
        """The next image of the pyramid, and the features that have seen it."""
        pyramid = self.down(pyramid)
        return pyramid, h + self.conv(pyramid)


class InputResidual(nn.Module):
    """Adds a strided convolution of the pyramid to the features; the sum is the next pyramid."""

    def __init__(self, into: int, channels: int, style: BlockStyle) -> None:
        super().__init__()
        self.skip = style.skip
        self.down = StridedConvolution(into, channels, style.resampling)

    def forward(self, pyramid: Pyramid, h: Images) -> tuple[Tensor, Tensor]:
        """The next image of the pyramid, which is also the features."""
        h = self.skip * (self.down(pyramid) + h)
        return h, h


def to_image(channels: int, image_channels: int) -> nn.Sequential:
    """From features to an image that starts near zero."""
    return nn.Sequential(
        normalisation(channels), nn.SiLU(), convolution(channels, image_channels, scale=ZERO)
    )


@dataclass(frozen=True)
class Way:
    """How one level leads to the next: the halving or doubling, and the pyramid's part in it."""

    resample: nn.Module | None = None
    pyramid: nn.Module | None = None


class EncoderLevel(nn.Module):
    """Residual blocks at one resolution, each with attention if any, and the way down.

    Args:
        into, out: channels before and after.
        down: to the next level; empty at the coarsest.
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
        """All features that the decoder will see, last the level's result; and the pyramid."""
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
    """Block, attention, block at the coarsest resolution."""

    def __init__(self, channels: int, style: BlockStyle) -> None:
        super().__init__()
        self.block_in = ResidualBlock(channels, channels, style)
        self.attention = Attention(channels, style.skip)
        self.block_out = ResidualBlock(channels, channels, style)

    def forward(self, h: Images, condition: Condition) -> Images:
        """Features of the same shape."""
        h = self.attention(self.block_in(h, condition))
        return cast(Images, self.block_out(h, condition))


class DecoderLevel(nn.Module):
    """Residual blocks at one resolution, each of which takes a skip of the encoder; one attention
    if any; and the way up.

    Args:
        into: channels that each block takes, its skip among them. out: that it gives.
        up: to the next level; its pyramid is the share of the result (:func:`to_image`).
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
        """Features, and the pyramid of the result. Takes its skips from the end of the list."""
        for block in self.blocks:
            h = block(cat([h, skips.pop()], dim=1), condition)
        h = self.attention(h)
        if self.to_image is not None:
            share = self.to_image(h)
            image = share if image is None else self.enlarge(image) + share
        if self.up is not None:
            h = self.up(h, condition)
        return h, image

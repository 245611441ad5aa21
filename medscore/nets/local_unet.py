"""A fully convolutional U-Net whose output at a pixel depends on a bounded neighbourhood only.

It has neither attention nor statistics over the image: features are normalised at each pixel, over
the channels (Ba et al. 2016; Liu et al. 2022 for convolutional networks). An image can therefore be
processed in overlapping tiles, and a network that was trained on crops serves images of any size.
As in :mod:`medscore.nets.unet`, blocks of ``fold`` x ``fold`` pixels become channels first.

Behind the image's channels come context maps (:mod:`medscore.nets.context`): the logarithm of the
pixel size, which modulates all features as the noise level does, and the position in the field of
view, which is an input of the first layer if the network uses it. A network of several classes of
images has a further map, the number of the class, or 0 for images of no known class. The class has
an embedding, which is added to that of the noise level (Dhariwal and Nichol 2021, 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from medscore.io.specs import Name
from medscore.nets.context import MAPS
from medscore.nets.embedding import PositionalEmbedding
from medscore.nets.spec import Few, NetworkSpec, Positive, check_multiple

NONE = "none"
"""Stands for images of no known class; no class has this name."""

LIVE, SAVED = 5, 7
"""Copies of a level's features that exist at once, and that a block keeps for a gradient."""


class LocalUNetSpec(NetworkSpec):
    """Parameters of :class:`LocalUNet`.

    Attributes:
        kind: ``local-unet``.
        channels: channels of each resolution level, finest first.
        blocks: residual blocks of each level on the way down; the way up has as many.
        fold: side of the blocks of pixels that become channels.
        position: use the position in the field of view.
        image_channels: channels of the images.
        classes: names of the classes of images that the network can be told, such as the contrasts
            T1 and T2.
    """

    kind: Literal["local-unet"] = "local-unet"
    channels: tuple[Positive, ...] = Field((64, 96, 160, 256), min_length=1, max_length=16)
    blocks: tuple[Few, ...] = (1, 1, 1, 2)
    fold: Few = 2
    position: bool = False
    image_channels: Positive = 1
    classes: tuple[Name, ...] = Field((), max_length=256)

    @model_validator(mode="after")
    def _one_number_of_blocks_per_level(self) -> LocalUNetSpec:
        if len(self.blocks) != len(self.channels):
            raise ValueError(f"blocks {self.blocks} must have {len(self.channels)} entries")
        return self

    @model_validator(mode="after")
    def _classes_differ(self) -> LocalUNetSpec:
        if len({NONE, *self.classes}) <= len(self.classes):
            raise ValueError(f"classes {self.classes} must differ from each other and from {NONE}")
        return self

    @property
    def context(self) -> bool:
        return True

    @property
    def maps(self) -> int:
        return MAPS + bool(self.classes)

    @property
    def uses_position(self) -> bool:
        return self.position

    @property
    def stride(self) -> int:
        return self.fold * self._coarsest

    @property
    def receptive_field(self) -> int:
        widths = [last - first + 1 for first, last in map(self._inputs, range(self._coarsest))]
        return self.fold * max(widths)

    @property
    def margin(self) -> int:
        before, after = -self._inputs(0)[0], self._inputs(self._coarsest - 1)[1]
        reach = self.fold * max(before, after + 1 - self._coarsest)
        return -(-reach // self.stride) * self.stride

    def activation_bytes(self, gradient: bool = False) -> int:
        levels = zip(self.channels, self.blocks, strict=True)
        features = [channels / 4**level for level, (channels, _) in enumerate(levels)]
        kept = LIVE * max(features) + sum(features)
        if gradient:
            kept += SAVED * sum(2 * n * size for n, size in zip(self.blocks, features, strict=True))
        return int(4 * kept / self.fold**2)

    @property
    def _coarsest(self) -> int:
        """Side of a pixel of the coarsest level, in pixels of the finest."""
        side: int = 2 ** (len(self.channels) - 1)
        return side

    def _inputs(self, pixel: int) -> tuple[int, int]:
        """The first and the last of the pixels that a pixel depends on, at the finest level.

        Every convolution adds a neighbour on each side; there are two in a block. On the way back
        to the finest level, a coarse pixel depends on both of its fine ones. Shortcuts and skip
        connections depend on no further pixels.
        """
        first, last = pixel - 1, pixel + 1
        for count in self.blocks[:-1]:
            first, last = (first - 2 * count) // 2, (last + 2 * count) // 2
        first, last = first - 4 * self.blocks[-1], last + 4 * self.blocks[-1]
        for count in reversed(self.blocks[:-1]):
            first, last = 2 * first - 2 * count, 2 * last + 1 + 2 * count
        return first - 1, last + 1

    def build(self) -> nn.Module:
        return LocalUNet(self)

    def check_size(self, size: int) -> None:
        levels = len(self.channels)
        why = f"it is divided by fold {self.fold}, then halved between {levels} levels of channels"
        check_multiple(size, self.stride, why)


class LocalUNet(nn.Module):
    """A U-Net of residual blocks, for images whose sides are multiples of its stride.

    Args:
        spec: parameters of the network.
    """

    def __init__(self, spec: LocalUNetSpec) -> None:
        super().__init__()
        self.spec = spec
        self.images, self.position = spec.image_channels, spec.position
        self.kinds = [1] if spec.classes else []
        folded, features = spec.fold**2, 4 * spec.channels[0]
        self.noise, self.pixel = PositionalEmbedding(features), PositionalEmbedding(features)
        self.embed = nn.Sequential(
            nn.Linear(2 * features, features), nn.SiLU(), nn.Linear(features, features), nn.SiLU()
        )
        inputs = self.images + 2 * self.position
        self.unfold, self.refold = nn.PixelUnshuffle(spec.fold), nn.PixelShuffle(spec.fold)
        self.first = nn.Conv2d(inputs * folded, spec.channels[0], 3, padding=1)
        levels = list(zip(spec.channels, spec.blocks, strict=True))

        def blocks(size: int, count: int) -> nn.ModuleList:
            return nn.ModuleList(ResidualBlock(size, features) for _ in range(count))

        self.down = nn.ModuleList(blocks(size, count) for size, count in levels)
        self.up = nn.ModuleList(blocks(size, count) for size, count in levels)
        self.coarser = nn.ModuleList(
            nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(spec.channels)
        )
        self.finer = nn.ModuleList(
            nn.ConvTranspose2d(coarse, fine, 2, stride=2)
            for fine, coarse in pairwise(spec.channels)
        )
        self.last = nn.Conv2d(spec.channels[0], self.images * folded, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(cast(Tensor, self.last.bias))
        self.classes = nn.Embedding(len(spec.classes) + 1, features) if spec.classes else None
        if self.classes is not None:
            nn.init.zeros_(self.classes.weight)

    @property
    def last_layer(self) -> nn.Module:
        """The last layer, whose input are the features of a second output."""
        return self.last

    def forward(self, x: Tensor, log_s: Tensor) -> Tensor:
        """The output of the network, (batch, channel, H, W).

        Args:
            x: noisy images, log pixel size in mm, position and, with classes, the number of the
                class, (batch, channel + 3 or 4, H, W); the log pixel size and the class are
                constant in each image.
            log_s: logarithm of the noise-to-signal ratio of each image, (batch,).
        """
        image, pixel, position, *kind = x.split([self.images, 1, 2, *self.kinds], dim=1)
        # about 1000 steps each over the ranges of noise levels and of pixel sizes
        both = self.noise(100 * log_s + 500), self.pixel(400 * pixel[:, 0, 0, 0] + 500)
        given = torch.cat(both, dim=1).to(self.first.weight.dtype)
        if self.classes is None:
            condition = self.embed(given)
        else:
            number = kind[0][:, 0, 0, 0].round().long()
            condition = self.embed[-1](self.embed[:-1](given) + self.classes(number))
        h = torch.cat([image, position], dim=1) if self.position else image
        h = self.first(self.unfold(h))
        skips = list[Tensor]()
        for level, blocks in enumerate(self.down):
            for block in cast(Sequence[nn.Module], blocks):
                h = block(h, condition)
            if level < len(self.coarser):
                skips.append(h)
                h = self.coarser[level](h)
        for level in reversed(range(len(self.up))):
            if level < len(self.finer):
                h = self.finer[level](h) + skips[level]
            for block in cast(Sequence[nn.Module], self.up[level]):
                h = block(h, condition)
        return cast(Tensor, self.refold(self.last(functional.silu(normalised(h)))))


class ResidualBlock(nn.Module):
    """Two convolutions with a shortcut; the condition scales and shifts the features in between.

    Args:
        channels: channels of the features.
        features: size of the condition.
    """

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(features, 2 * channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(cast(Tensor, self.second.bias))

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """The features after the block, of the shape of ``h``.

        Args:
            h: features (batch, channels, H, W).
            condition: embedded condition (batch, features).
        """
        scale, shift = self.modulation(condition)[:, :, None, None].chunk(2, dim=1)
        inner = self.first(functional.silu(normalised(h)))
        inner = normalised(inner) * (1 + scale) + shift
        return h + cast(Tensor, self.second(functional.silu(inner)))


def normalised(h: Tensor) -> Tensor:
    """Features with zero mean and unit variance over the channels of each pixel.

    Args:
        h: features (batch, channels, H, W).
    """
    return functional.layer_norm(h.permute(0, 2, 3, 1), h.shape[1:2]).permute(0, 3, 1, 2)

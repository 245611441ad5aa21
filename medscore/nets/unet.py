"""MONAI's DiffusionModelUNet after a pixel unshuffle: the network of the shipped priors.

Blocks of ``fold`` x ``fold`` pixels become channels before the network and pixels again behind it.
The layers at full resolution, which dominate the cost on a CPU, thus run on a smaller grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

from pydantic import Field, model_validator
from torch import Tensor, nn

from medscore.nets.spec import Few, NetworkSpec, Positive, check_multiple


class UNetSpec(NetworkSpec):
    """Parameters of :class:`UNet`.

    Attributes:
        kind: ``unet``.
        channels: channels of each resolution level, finest first.
        blocks: residual blocks of each level.
        fold: side of the blocks of pixels that become channels.
        groups: groups of the group normalisation.
        image_channels: channels of the images.
    """

    kind: Literal["unet"] = "unet"
    channels: tuple[Positive, ...] = Field((48, 48, 96, 128), min_length=1, max_length=16)
    blocks: Few = 1
    fold: Few = 2
    groups: Positive = 8
    image_channels: Positive = 1

    @model_validator(mode="after")
    def _groups_divide_channels(self) -> UNetSpec:
        if any(channel % self.groups for channel in self.channels):
            raise ValueError(f"channels {self.channels} must be multiples of groups {self.groups}")
        return self

    def build(self) -> nn.Module:
        return UNet(
            self.channels,
            blocks=self.blocks,
            fold=self.fold,
            image_channels=self.image_channels,
            groups=self.groups,
        )

    def check_size(self, size: int) -> None:
        levels = len(self.channels)
        why = f"it is divided by fold {self.fold}, then halved between {levels} levels of channels"
        check_multiple(size, self.fold * 2 ** (levels - 1), why)


class UNet(nn.Module):
    """A U-Net for square images whose side is divisible by ``fold * 2**(len(channels) - 1)``.

    Args:
        channels: channels of each resolution level, finest first.
        blocks: residual blocks of each level.
        fold: side of the blocks of pixels that become channels.
        image_channels: channels of the images.
        groups: groups of the group normalisation.
    """

    def __init__(
        self,
        channels: Sequence[int] = (48, 48, 96, 128),
        *,
        blocks: int = 1,
        fold: int = 2,
        image_channels: int = 1,
        groups: int = 8,
    ) -> None:
        super().__init__()
        # imported here because it takes 2-4 s
        from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet

        self.unfold, self.refold = nn.PixelUnshuffle(fold), nn.PixelShuffle(fold)
        self.body = DiffusionModelUNet(
            spatial_dims=2,
            in_channels=image_channels * fold**2,
            out_channels=image_channels * fold**2,
            channels=tuple(channels),
            attention_levels=(False,) * len(channels),
            num_res_blocks=blocks,
            norm_num_groups=groups,
            num_head_channels=channels[-1],
        )

    @property
    def last_layer(self) -> nn.Module:
        """The last layer, whose input are the features of a second output."""
        return self.body.out[-1]

    def forward(self, x: Tensor, log_s: Tensor) -> Tensor:
        """The output of the network, of the shape of ``x``.

        Args:
            x: noisy images (batch, channel, H, W).
            log_s: logarithm of the noise-to-signal ratio of each image, (batch,).
        """
        # MONAI's sinusoidal embedding expects steps of about 0 to 1000
        return cast(Tensor, self.refold(self.body(self.unfold(x), 250.0 * log_s)))

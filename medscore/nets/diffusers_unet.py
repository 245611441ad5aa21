"""The unconditional UNet2DModel of the diffusers library, for checkpoints written by it.

It needs ``pip install "medscore[import]"``. The condition is the index of the DDPM step, 0 for the
least noise, so the usual prediction is ``{target: noise, condition: level, levels: 1000}``.
"""

from __future__ import annotations

from typing import Literal, cast

from pydantic import Field, model_validator
from torch import nn

from medscore.errors import optional_module
from medscore.nets.spec import Few, NetworkSpec, Positive, check_halved
from medscore.types import Images, Times

DownBlock = Literal["DownBlock2D", "AttnDownBlock2D", "ResnetDownsampleBlock2D"]
UpBlock = Literal["UpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"]
Resample = Literal["conv", "resnet"]


class DiffusersUNetSpec(NetworkSpec):
    """The configuration of UNet2DModel, as far as an unconditional network depends on it.

    Names and defaults are those of diffusers, except ``image_channels``. Dropout is left out, since
    it is inactive in a trained network.

    Attributes:
        kind: ``diffusers``.
        image_channels: in_channels and out_channels of UNet2DModel.
        sample_size: side of the images in pixels, if the network is made for one size.
        block_out_channels: channels of each resolution level, finest first.
        layers_per_block: residual blocks of each level.
        down_block_types: kind of each level of the encoder, finest first.
        up_block_types: kind of each level of the decoder, coarsest first.
        mid_block_type: kind of the middle block; None for no middle block.
        mid_block_scale_factor: divisor of the skip connections in the middle block.
        add_attention: whether the middle block has attention.
        attention_head_dim: channels of an attention head.
        norm_num_groups: groups of the group normalisation.
        attn_norm_num_groups: groups of the normalisation in the middle block's attention.
        norm_eps: epsilon of the group normalisation.
        act_fn: activation function.
        resnet_time_scale_shift: how the time embedding enters the residual blocks.
        downsample_padding: padding of the strided convolutions.
        downsample_type: how images are downsampled.
        upsample_type: how images are upsampled.
        time_embedding_dim: features of the time embedding; by default four times the first
            ``block_out_channels``.
        freq_shift: shift in the frequencies of the time embedding.
        flip_sin_to_cos: whether cosines come before sines in the time embedding.
        center_input_sample: whether the network maps its input from [0, 1] to [-1, 1].
    """

    kind: Literal["diffusers"] = "diffusers"
    image_channels: Positive = 1
    sample_size: Positive | None = None
    block_out_channels: tuple[Positive, ...] = Field(
        default=(224, 448, 672, 896), min_length=1, max_length=16
    )
    layers_per_block: Few = 2
    down_block_types: tuple[DownBlock, ...] = ("DownBlock2D", *("AttnDownBlock2D",) * 3)
    up_block_types: tuple[UpBlock, ...] = (*("AttnUpBlock2D",) * 3, "UpBlock2D")
    mid_block_type: Literal["UNetMidBlock2D"] | None = "UNetMidBlock2D"
    mid_block_scale_factor: float = Field(default=1.0, gt=0)
    add_attention: bool = True
    attention_head_dim: Positive | None = 8
    norm_num_groups: Positive = 32
    attn_norm_num_groups: Positive | None = None
    norm_eps: float = Field(default=1e-5, gt=0)
    act_fn: Literal["silu", "swish", "mish", "gelu", "relu"] = "silu"
    resnet_time_scale_shift: Literal["default", "scale_shift"] = "default"
    downsample_padding: Literal[0, 1] = 1
    downsample_type: Resample = "conv"
    upsample_type: Resample = "conv"
    time_embedding_dim: Positive | None = None
    freq_shift: int = 0
    flip_sin_to_cos: bool = True
    center_input_sample: bool = False

    @model_validator(mode="after")
    def _fits_together(self) -> DiffusersUNetSpec:
        levels = len(self.block_out_channels)
        for name in ("down_block_types", "up_block_types"):
            if len(getattr(self, name)) != levels:
                raise ValueError(
                    f"{name} must have {levels} entries, one for each of block_out_channels"
                )
        for name in ("norm_num_groups", "attention_head_dim"):
            part = getattr(self, name)
            if part and any(channel % part for channel in self.block_out_channels):
                raise ValueError(
                    f"block_out_channels {self.block_out_channels} must be multiples of "
                    f"{name} {part}"
                )
        return self

    def build(self) -> nn.Module:
        return DiffusersUNet(self)

    def check_size(self, size: int) -> None:
        if self.sample_size not in (None, size):
            raise ValueError(f"size {size} is not the network's sample_size {self.sample_size}")
        check_halved(size, len(self.block_out_channels), "block_out_channels")


class DiffusersUNet(nn.Module):
    """UNet2DModel without class labels.

    Args:
        spec: configuration of the network.

    Raises:
        MedscoreError: diffusers is not installed.
    """

    def __init__(self, spec: DiffusersUNetSpec) -> None:
        super().__init__()
        unets = optional_module(  # takes 3-5 s
            "diffusers.models.unets.unet_2d", "this network", install="medscore[import]"
        )
        settings = spec.model_dump(exclude={"kind", "image_channels"})
        channels = spec.image_channels
        self.body = unets.UNet2DModel(in_channels=channels, out_channels=channels, **settings)

    @property
    def last_layer(self) -> nn.Module:
        """The last layer, whose input are the features of a second output."""
        return cast(nn.Module, self.body.conv_out)

    def forward(self, x: Images, c: Times) -> Images:
        """The output of the network, of the shape of ``x``.

        Args:
            x: noisy images (batch, channel, H, W).
            c: index of the DDPM step of each image, (batch,).
        """
        return cast(Images, self.body(x, c, return_dict=False)[0])

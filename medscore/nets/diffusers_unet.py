"""The unconditional UNet2DModel of the diffusers library, for the checkpoints that it writes.

It needs ``pip install "medscore[import]"``. The condition is the number of the DDPM step, from 0 at
the least noise: ``{target: noise, condition: level, levels: 1000}``.
"""

from __future__ import annotations

from typing import Literal, cast

from pydantic import Field, model_validator
from torch import nn

from medscore.errors import MedscoreError
from medscore.nets.spec import NetworkSpec, Positive, check_halved
from medscore.types import Images, Times

DownBlock = Literal["DownBlock2D", "AttnDownBlock2D", "ResnetDownsampleBlock2D"]
UpBlock = Literal["UpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"]
Resample = Literal["conv", "resnet"]


class DiffusersUNetSpec(NetworkSpec):
    """UNet2DModel's configuration, as far as an unconditional network depends on it.

    Names and defaults are its own but for ``image_channels``, its in_channels and out_channels.
    Dropout is left out: it is off in a trained network.
    """

    kind: Literal["diffusers"] = "diffusers"
    image_channels: Positive = 1
    sample_size: Positive | None = None
    block_out_channels: tuple[Positive, ...] = Field(default=(224, 448, 672, 896), min_length=1)
    layers_per_block: Positive = 2
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
        """ValueError where ``size`` is not the network's own, or cannot be halved at each level."""
        if self.sample_size not in (None, size):
            raise ValueError(f"size {size} is not the network's sample_size {self.sample_size}")
        check_halved(size, len(self.block_out_channels), "block_out_channels")


class DiffusersUNet(nn.Module):
    """UNet2DModel without class labels; ``spec`` says which.

    Raises:
        MedscoreError: diffusers is not installed.
    """

    def __init__(self, spec: DiffusersUNetSpec) -> None:
        super().__init__()
        try:
            from diffusers.models.unets.unet_2d import UNet2DModel  # slow to import: 3-5 s
        except ImportError as error:
            raise MedscoreError(
                f"this network is diffusers', which cannot be imported ({error})",
                hint='pip install "medscore[import]"',
            ) from error
        settings = spec.model_dump(exclude={"kind", "image_channels"})
        channels = spec.image_channels
        self.body = UNet2DModel(in_channels=channels, out_channels=channels, **settings)

    def forward(self, x: Images, c: Times) -> Images:
        """Args: x (batch, channel, H, W); c (batch,)."""
        return cast(Images, self.body(x, c, return_dict=False)[0])

"""MONAI's DiffusionModelUNet as it is, in 2D and in 3D (Pinaya et al. 2022, after Rombach et al.).

The condition goes to its sinusoidal embedding unchanged: for a network trained on DDPM's steps it
is the number of the step, ``{target: noise, condition: level, levels: 1000}``.
"""

from __future__ import annotations

from typing import Annotated, Literal, cast

from pydantic import Field, model_validator
from torch import nn

from medscore.nets.spec import NetworkSpec, Positive, check_halved
from medscore.types import State, Times

Natural = Annotated[int, Field(ge=0)]


class MonaiUNetSpec(NetworkSpec):
    """Parameters of :class:`MonaiUNet`, named as MONAI's.

    Attributes:
        image_channels: MONAI's in_channels and out_channels.
        channels, attention_levels: of each resolution, finest first.
        res_blocks: MONAI's num_res_blocks, one number or one a resolution.
        num_head_channels: of an attention head, one number or one a resolution; the coarsest
            resolution's is used in the middle too, so there it is never 0.
        include_fc, use_combined_linear: the linear layers of the attention.
    """

    kind: Literal["monai"] = "monai"
    spatial_dims: Literal[2, 3] = 2
    image_channels: Positive = 1
    channels: tuple[Positive, ...] = Field(default=(32, 64, 64, 64), min_length=1)
    attention_levels: tuple[bool, ...] = (False, False, True, True)
    res_blocks: Positive | tuple[Positive, ...] = 2
    norm_num_groups: Positive = 32
    norm_eps: float = Field(default=1e-6, gt=0)
    num_head_channels: Positive | tuple[Natural, ...] = 8
    resblock_updown: bool = False
    include_fc: bool = True
    use_combined_linear: bool = False

    @model_validator(mode="after")
    def _fits_together(self) -> MonaiUNetSpec:
        levels = len(self.channels)
        for name in ("attention_levels", "res_blocks", "num_head_channels"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != levels:
                raise ValueError(f"{name} {value} must have {levels} entries, one a resolution")
        if any(channel % self.norm_num_groups for channel in self.channels):
            raise ValueError(
                f"channels {self.channels} must be multiples of norm_num_groups "
                f"{self.norm_num_groups}"
            )
        attended = (*self.attention_levels[:-1], True)  # the middle has attention always
        for channel, head, used in zip(self.channels, self.heads, attended, strict=True):
            if used and (head == 0 or channel % head):
                raise ValueError(
                    f"channels {channel} with attention must be a multiple of num_head_channels, "
                    f"which is {head} there"
                )
        return self

    @property
    def heads(self) -> tuple[int, ...]:
        """num_head_channels of each resolution."""
        given = self.num_head_channels
        return given if isinstance(given, tuple) else (given,) * len(self.channels)

    def build(self) -> nn.Module:
        return MonaiUNet(self)

    def check_size(self, size: int) -> None:
        """ValueError where images of ``size`` cannot be halved between the resolutions."""
        check_halved(size, len(self.channels), "channels")


class MonaiUNet(nn.Module):
    """DiffusionModelUNet without class labels and without cross-attention; ``spec`` says which."""

    def __init__(self, spec: MonaiUNetSpec) -> None:
        super().__init__()
        from monai.networks.nets.diffusion_model_unet import (
            DiffusionModelUNet,
        )  # slow to import: 2-4 s

        self.body = DiffusionModelUNet(
            spatial_dims=spec.spatial_dims,
            in_channels=spec.image_channels,
            out_channels=spec.image_channels,
            num_res_blocks=spec.res_blocks,
            channels=spec.channels,
            attention_levels=spec.attention_levels,
            norm_num_groups=spec.norm_num_groups,
            norm_eps=spec.norm_eps,
            resblock_updown=spec.resblock_updown,
            num_head_channels=spec.num_head_channels,
            include_fc=spec.include_fc,
            use_combined_linear=spec.use_combined_linear,
        )

    def forward(self, x: State, c: Times) -> State:
        """Args: x (batch, channel, H, W) or (batch, channel, D, H, W); c (batch,)."""
        return cast(State, self.body(x, c))

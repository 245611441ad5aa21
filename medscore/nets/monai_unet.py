"""MONAI's DiffusionModelUNet, in 2D and 3D (Pinaya et al. 2022, after Rombach et al.).

The condition is passed unchanged to its sinusoidal embedding. For a network trained with DDPM it is
the index of the step: ``{target: noise, condition: level, levels: 1000}``.
"""

from __future__ import annotations

from typing import Annotated, Literal, cast

from pydantic import Field, model_validator
from torch import nn

from medscore.nets.spec import Few, NetworkSpec, Positive, check_halved
from medscore.types import State, Times

Natural = Annotated[int, Field(ge=0, le=16_384)]


class MonaiUNetSpec(NetworkSpec):
    """Parameters of :class:`MonaiUNet`, with MONAI's names where not noted otherwise.

    Attributes:
        kind: ``monai``.
        spatial_dims: 2 for images, 3 for volumes.
        image_channels: MONAI's in_channels and out_channels.
        channels: channels of each resolution level, finest first.
        attention_levels: whether each level has attention, finest first.
        res_blocks: MONAI's num_res_blocks: residual blocks, one number or one for each level.
        norm_num_groups: groups of the group normalisation.
        norm_eps: epsilon of the group normalisation.
        num_head_channels: channels of an attention head, one number or one for each level. The
            middle block has attention too and uses the last, which must not be 0.
        resblock_updown: resample inside residual blocks instead of by convolutions.
        include_fc: whether the attention ends with a linear layer.
        use_combined_linear: whether one linear layer computes queries, keys and values.
    """

    kind: Literal["monai"] = "monai"
    spatial_dims: Literal[2, 3] = 2
    image_channels: Positive = 1
    channels: tuple[Positive, ...] = Field(default=(32, 64, 64, 64), min_length=1, max_length=16)
    attention_levels: tuple[bool, ...] = (False, False, True, True)
    res_blocks: Few | tuple[Few, ...] = 2
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
                raise ValueError(f"{name} {value} must have {levels} entries, one for each level")
        if any(channel % self.norm_num_groups for channel in self.channels):
            raise ValueError(
                f"channels {self.channels} must be multiples of norm_num_groups "
                f"{self.norm_num_groups}"
            )
        attended = (*self.attention_levels[:-1], True)  # the middle block always has attention
        for channel, head, used in zip(self.channels, self.heads, attended, strict=True):
            if used and (head == 0 or channel % head):
                raise ValueError(
                    f"channels {channel} with attention must be a multiple of num_head_channels, "
                    f"which is {head} on that level"
                )
        return self

    @property
    def heads(self) -> tuple[int, ...]:
        """num_head_channels of each level."""
        heads = self.num_head_channels
        return heads if isinstance(heads, tuple) else (heads,) * len(self.channels)

    def build(self) -> nn.Module:
        return MonaiUNet(self)

    def check_size(self, size: int) -> None:
        check_halved(size, len(self.channels), "channels")


class MonaiUNet(nn.Module):
    """DiffusionModelUNet without class labels and without cross-attention.

    Args:
        spec: parameters of the network.
    """

    def __init__(self, spec: MonaiUNetSpec) -> None:
        super().__init__()
        # imported here because it takes 2-4 s
        from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet

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

    @property
    def last_layer(self) -> nn.Module:
        """The last layer, whose input are the features of a second output."""
        return self.body.out[-1]

    def forward(self, x: State, c: Times) -> State:
        """The output of the network, of the shape of ``x``.

        Args:
            x: noisy images (batch, channel, H, W), or volumes (batch, channel, D, H, W).
            c: condition of each image, (batch,).
        """
        return cast(State, self.body(x, c))

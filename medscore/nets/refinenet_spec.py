"""The parameters that NCSN and NCSNv2 share: widths and dilations of the stages of a RefineNet."""

from __future__ import annotations

from pydantic import Field, model_validator

from medscore.nets.spec import NetworkSpec, Positive, check_multiple


class RefineNetSpec(NetworkSpec):
    """Parameters that NCSN and NCSNv2 share.

    Attributes:
        image_channels: channels of the images.
        width: channels of a stage with multiplier 1.
        multipliers: channels of each stage in units of ``width``, finest first.
        dilations: dilation of the convolutions of each stage. After the first, a stage with
            dilation 1 halves the resolution, and one with a larger dilation keeps it.
    """

    image_channels: Positive = 1
    width: Positive = 128
    multipliers: tuple[Positive, ...] = Field((1, 2, 2, 2), min_length=1, max_length=16)
    dilations: tuple[Positive, ...] = Field((1, 1, 2, 4), min_length=1, max_length=16)

    @model_validator(mode="after")
    def _one_dilation_per_stage(self) -> RefineNetSpec:
        if len(self.multipliers) != len(self.dilations):
            raise ValueError(
                f"multipliers {self.multipliers} and dilations {self.dilations} must have the same "
                "length"
            )
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each stage."""
        return tuple(self.width * multiplier for multiplier in self.multipliers)

    def check_size(self, size: int) -> None:
        why = (
            f"it is halved at each later stage with dilation 1, and dilations are {self.dilations}"
        )
        check_multiple(size, 2 ** self.dilations[1:].count(1), why)

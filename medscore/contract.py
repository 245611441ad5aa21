"""The data contract: what a prior's images are. It travels in the checkpoint header."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from medscore.sde import SDE, VE, VP, SubVP

PREPROCESSING = 1
"""Version of the path from file to network range; a checkpoint of another version is refused."""


Positive = Annotated[int, Field(gt=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _SDE(_Strict):
    @model_validator(mode="after")
    def _builds(self) -> _SDE:
        self.build()
        return self

    def build(self) -> SDE:
        """The SDE; ValueError where its parameters are impossible."""
        raise NotImplementedError


class VESpec(_SDE):
    """Parameters of :class:`medscore.sde.VE`."""

    kind: Literal["ve"] = "ve"
    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def build(self) -> SDE:
        return VE(self.sigma_min, self.sigma_max)


class VPSpec(_SDE):
    """Parameters of :class:`medscore.sde.VP`."""

    kind: Literal["vp"] = "vp"
    beta_min: float = 0.1
    beta_max: float = 20.0

    def build(self) -> SDE:
        return VP(self.beta_min, self.beta_max)


class SubVPSpec(_SDE):
    """Parameters of :class:`medscore.sde.SubVP`."""

    kind: Literal["subvp"] = "subvp"
    beta_min: float = 0.1
    beta_max: float = 20.0

    def build(self) -> SDE:
        return SubVP(self.beta_min, self.beta_max)


SDESpec = Annotated[VESpec | VPSpec | SubVPSpec, Field(discriminator="kind")]


class UNetSpec(_Strict):
    """Parameters of :class:`medscore.nets.unet.UNet`."""

    kind: Literal["unet"] = "unet"
    channels: tuple[Positive, ...] = Field((48, 48, 96, 128), min_length=1)
    blocks: Positive = 1
    fold: Positive = 2
    groups: Positive = 8

    @model_validator(mode="after")
    def _groups_divide_channels(self) -> UNetSpec:
        if any(channel % self.groups for channel in self.channels):
            raise ValueError(f"channels {self.channels} must be multiples of groups {self.groups}")
        return self

    def check_size(self, size: int) -> None:
        """ValueError where images of ``size`` cannot be folded, then halved at every level."""
        step = self.fold * 2 ** (len(self.channels) - 1)
        if size % step:
            raise ValueError(
                f"size {size} must be a multiple of {step}: fold {self.fold}, then halved between "
                f"{len(self.channels)} levels of channels"
            )


class Provenance(_Strict):
    """Where the weights come from."""

    data: str
    patients: int
    slices: int
    steps: int
    seed: int
    licence: str
    config_sha256: str = ""


class DataContract(_Strict):
    """What a prior was trained on, and so what it may be used on.

    The affine map is x = (value - low) / (high - low): ``low`` and ``high`` become 0 and 1 in the
    network's range.
    """

    name: str
    modality: Literal["CT", "MR"]
    quantity: Literal["HU", "mu", "magnitude", "complex"]
    low: float
    high: float
    size: int = Field(gt=0)
    spacing_mm: tuple[float, float]
    data_mean: float
    data_std: float = Field(gt=0)
    sde: SDESpec
    network: UNetSpec
    preprocessing: int = PREPROCESSING
    provenance: Provenance

    @model_validator(mode="after")
    def _ordered(self) -> DataContract:
        if not self.low < self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        if not 0 < self.spacing_mm[0] <= self.spacing_mm[1]:
            raise ValueError(f"spacing_mm {self.spacing_mm} must be positive and increasing")
        self.network.check_size(self.size)
        return self

    @property
    def scale(self) -> float:
        """Width of the value range that the network sees as 1."""
        return self.high - self.low

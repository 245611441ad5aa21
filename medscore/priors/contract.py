"""The data contract of a prior file: its images, SDE, network and provenance, in the header."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from medscore.domain import ImageDomain
from medscore.io.specs import Strict
from medscore.nets.diffusers_unet import DiffusersUNetSpec
from medscore.nets.monai_unet import MonaiUNetSpec
from medscore.nets.ncsn import NCSNSpec
from medscore.nets.ncsnpp import NCSNPPSpec
from medscore.nets.ncsnv2 import NCSNv2Spec
from medscore.nets.unet import UNetSpec
from medscore.priors.preconditioning import (
    EDM,
    Condition,
    Level,
    Preconditioning,
    clean,
    log_ratio,
    log_sigma,
    noise,
    scaled_score,
    score,
    time_999,
    velocity,
)
from medscore.sdes.base import SDE
from medscore.sdes.ddpm import DDPM
from medscore.sdes.linear import VE, VP, SubVP

PREPROCESSING = 1
"""Version of the path from file to network range; a checkpoint of another version is refused."""


class _SDE(Strict):
    @model_validator(mode="after")
    def _builds(self) -> _SDE:
        self.build()
        return self

    def build(self) -> SDE:
        """The SDE; ValueError where its parameters are impossible."""
        raise NotImplementedError


class VESpec(_SDE):
    """Parameters of :class:`medscore.sdes.linear.VE`."""

    kind: Literal["ve"] = "ve"
    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def build(self) -> SDE:
        return VE(self.sigma_min, self.sigma_max)


class VPSpec(_SDE):
    """Parameters of :class:`medscore.sdes.linear.VP`."""

    kind: Literal["vp"] = "vp"
    beta_min: float = 0.1
    beta_max: float = 20.0
    eps: float = Field(default=1e-3, gt=0, lt=1)

    def build(self) -> SDE:
        return VP(self.beta_min, self.beta_max, self.eps)


class SubVPSpec(_SDE):
    """Parameters of :class:`medscore.sdes.linear.SubVP`."""

    kind: Literal["subvp"] = "subvp"
    beta_min: float = 0.1
    beta_max: float = 20.0
    eps: float = Field(default=1e-3, gt=0, lt=1)

    def build(self) -> SDE:
        return SubVP(self.beta_min, self.beta_max, self.eps)


class DDPMSpec(_SDE):
    """Parameters of :class:`medscore.sdes.ddpm.DDPM`."""

    kind: Literal["ddpm"] = "ddpm"
    scales: int = 1000
    beta_min: float = 0.1
    beta_max: float = 20.0

    def build(self) -> SDE:
        return DDPM(self.scales, self.beta_min, self.beta_max)


SDESpec = Annotated[VESpec | VPSpec | SubVPSpec | DDPMSpec, Field(discriminator="kind")]

Network = Annotated[
    UNetSpec | NCSNSpec | NCSNv2Spec | MonaiUNetSpec | DiffusersUNetSpec | NCSNPPSpec,
    Field(discriminator="kind"),
]
"""A new network is its file and its line here."""

PREDICTIONS: dict[str, Preconditioning] = {
    "score": score, "scaled_score": scaled_score, "noise": noise, "velocity": velocity,
    "clean": clean,
}  # fmt: skip
CONDITIONS: dict[str, Condition] = {
    "log_ratio": log_ratio, "log_sigma": log_sigma, "time": time_999,
}  # fmt: skip


class PredictionSpec(Strict):
    """What the network predicts and what it is told (:mod:`medscore.priors.preconditioning`).

    ``levels`` is for the condition ``level``: how many noise scales the network was trained on.
    """

    target: Literal["edm", "score", "scaled_score", "noise", "velocity", "clean"] = "edm"
    condition: Literal["log_ratio", "log_sigma", "time", "level"] = "log_ratio"
    levels: int = Field(default=1000, gt=1)

    def preconditioning(self, data_std: float) -> Preconditioning:
        """The row of the table."""
        return EDM(data_std) if self.target == "edm" else PREDICTIONS[self.target]

    def told(self) -> Condition:
        """The condition."""
        return Level(self.levels) if self.condition == "level" else CONDITIONS[self.condition]


class Provenance(Strict):
    """Where the weights come from."""

    data: str
    patients: int
    slices: int
    steps: int
    seed: int
    licence: str
    config_sha256: str = ""


class DataContract(ImageDomain):
    """What a prior was trained on, and so what it may be used on; the header of its file.

    Attributes:
        name: the prior's name.
        size: rows and columns of the training images.
        spacing_mm: smallest and largest pixel spacing of the training images in mm.
        data_mean: mean of the training images in the network's range.
        data_std: standard deviation of the training images in the network's range.
        sde: the forward diffusion.
        network: the network's architecture.
        prediction: what the network predicts and how it is conditioned on time.
        preprocessing: version of the path from file to network range.
        provenance: where the weights come from.
    """

    name: str
    size: int = Field(gt=0)
    spacing_mm: tuple[float, float]
    data_mean: float
    data_std: float = Field(gt=0)
    sde: SDESpec
    network: Network
    prediction: PredictionSpec = PredictionSpec()
    preprocessing: int = PREPROCESSING
    provenance: Provenance

    @model_validator(mode="after")
    def _fits_network(self) -> DataContract:
        self.network.check_size(self.size)
        return self

    @property
    def spatial_dims(self) -> int:
        dims: int = getattr(self.network, "spatial_dims", 2)
        return dims

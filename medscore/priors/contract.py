"""The data contract in the header of a prior file: image domain, SDE, network and provenance."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from medscore.domain import ImageDomain, check_pixel
from medscore.errors import MedscoreError
from medscore.io.specs import LARGEST_SIDE, Strict
from medscore.nets.known import Network
from medscore.priors.noise_scales import check_levels
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
"""Version of the preprocessing from files to the network's range; other versions are refused."""

DEFAULT_SIDE, DEFAULT_PIXEL = 256, 1.5
"""Matrix size and pixel size in mm of the images of a prior for any matrix, where none is given."""


class _SDE(Strict):
    @model_validator(mode="after")
    def _builds(self) -> _SDE:
        self.build()
        return self

    def build(self) -> SDE:
        """The SDE with these parameters.

        Raises:
            ValueError: the parameters are out of range.
        """
        raise NotImplementedError


class VESpec(_SDE):
    """Parameters of :class:`medscore.sdes.linear.VE`.

    Attributes:
        kind: name of the SDE.
        sigma_min: smallest noise standard deviation.
        sigma_max: largest noise standard deviation.
    """

    kind: Literal["ve"] = "ve"
    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def build(self) -> SDE:
        return VE(self.sigma_min, self.sigma_max)


class VPSpec(_SDE):
    """Parameters of :class:`medscore.sdes.linear.VP`.

    Attributes:
        kind: name of the SDE.
        beta_min: noise rate at t = 0.
        beta_max: noise rate at t = 1.
        eps: time at which sampling ends.
    """

    kind: Literal["vp"] = "vp"
    beta_min: float = 0.1
    beta_max: float = 20.0
    eps: float = Field(default=1e-3, gt=0, lt=1)

    def build(self) -> SDE:
        return VP(self.beta_min, self.beta_max, self.eps)


class SubVPSpec(_SDE):
    """Parameters of :class:`medscore.sdes.linear.SubVP`.

    Attributes:
        kind: name of the SDE.
        beta_min: noise rate at t = 0.
        beta_max: noise rate at t = 1.
        eps: time at which sampling ends.
    """

    kind: Literal["subvp"] = "subvp"
    beta_min: float = 0.1
    beta_max: float = 20.0
    eps: float = Field(default=1e-3, gt=0, lt=1)

    def build(self) -> SDE:
        return SubVP(self.beta_min, self.beta_max, self.eps)


class DDPMSpec(_SDE):
    """Parameters of :class:`medscore.sdes.ddpm.DDPM`.

    Attributes:
        kind: name of the SDE.
        scales: number of noise scales.
        beta_min: noise rate at t = 0.
        beta_max: noise rate at t = 1.
    """

    kind: Literal["ddpm"] = "ddpm"
    scales: int = Field(default=1000, le=100_000)
    beta_min: float = 0.1
    beta_max: float = 20.0

    def build(self) -> SDE:
        return DDPM(self.scales, self.beta_min, self.beta_max)


SDESpec = Annotated[VESpec | VPSpec | SubVPSpec | DDPMSpec, Field(discriminator="kind")]

PREDICTIONS: dict[str, Preconditioning] = {
    "score": score, "scaled_score": scaled_score, "noise": noise, "velocity": velocity,
    "clean": clean,
}  # fmt: skip
CONDITIONS: dict[str, Condition] = {
    "log_ratio": log_ratio, "log_sigma": log_sigma, "time": time_999,
}  # fmt: skip


class PredictionSpec(Strict):
    """The network's prediction target and time variable (:mod:`medscore.priors.preconditioning`).

    Attributes:
        target: quantity that the network predicts.
        condition: time variable that the network receives.
        levels: number of noise scales that the network was trained on; used by the condition
            ``level`` only.
    """

    target: Literal["edm", "score", "scaled_score", "noise", "velocity", "clean"] = "edm"
    condition: Literal["log_ratio", "log_sigma", "time", "level"] = "log_ratio"
    levels: int = Field(default=1000, gt=1, le=100_000)

    def preconditioning(self, data_std: float) -> Preconditioning:
        """The preconditioning of the prediction target.

        Args:
            data_std: standard deviation of the training images in the network's range.
        """
        return EDM(data_std) if self.target == "edm" else PREDICTIONS[self.target]

    def time_variable(self) -> Condition:
        """The function that computes the time variable of the network."""
        return Level(self.levels) if self.condition == "level" else CONDITIONS[self.condition]


class Provenance(Strict):
    """The origin of the weights of a prior.

    Attributes:
        data: name of the training data.
        patients: number of patients in the training data.
        slices: number of training slices.
        steps: number of training steps.
        seed: seed of the training run.
        licence: licence of the weights.
        config_sha256: SHA-256 hash of the training configuration.
    """

    data: str
    patients: int
    slices: int
    steps: int
    seed: int
    licence: str
    config_sha256: str = ""


class DataContract(ImageDomain):
    """The image domain, SDE, network and provenance of a prior; the header of its file.

    Attributes:
        name: the prior's name.
        size: rows and columns of the training images; None for any matrix, whose sides are padded
            to the stride of the network.
        spacing_mm: smallest and largest pixel spacing of the training images in mm.
        data_mean: mean of the training images in the network's range.
        data_std: standard deviation of the training images in the network's range.
        sde: the forward diffusion.
        network: the network's architecture.
        prediction: what the network predicts and how it is conditioned on time.
        preprocessing: version of the preprocessing from files to the network's range.
        provenance: origin of the weights.
    """

    name: str
    size: int | None = Field(gt=0, le=LARGEST_SIDE)
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
        if self.size is not None:
            self.network.check_size(self.size)
        elif self.network.receptive_field is None or self.modality == "picture":
            raise ValueError(
                "size may be null for CT and MR images, and a network with a receptive field"
            )
        check_levels(self.network, self.prediction.condition, self.prediction.levels)
        its = getattr(self.network, "image_channels", self.channels)
        if its != self.channels:
            raise ValueError(
                f"{self.quantity} images have {self.channels} channels, the network has {its}"
            )
        return self

    @property
    def receptive_field(self) -> int | None:
        return self.network.receptive_field

    @property
    def uses_position(self) -> bool:
        return self.network.uses_position

    @property
    def classes(self) -> tuple[str, ...]:
        names: tuple[str, ...] = getattr(self.network, "classes", ())
        return names

    @property
    def spatial_dims(self) -> int:
        dims: int = getattr(self.network, "spatial_dims", 2)
        return dims

    @property
    def side(self) -> int:
        """Rows and columns of the images of a prior of one size.

        Raises:
            MedscoreError: the prior is for any matrix.
        """
        if self.size is None:
            raise MedscoreError(
                f"prior {self.name} is for any matrix", hint="choose a size with `contract.at`"
            )
        return self.size

    def at(self, size: int | None = None, spacing: float | None = None) -> DataContract:
        """The contract of a prior for any matrix, with one matrix size and pixel size.

        Args:
            size: rows and columns; 256 by default.
            spacing: pixel size in mm; 1.5 by default, or the nearest one that the prior knows.

        Returns:
            The contract; that of a prior of one size as it is.

        Raises:
            MedscoreError: the prior has one size, or a number is out of range.
        """
        if self.size is not None:
            for name, value in (("size", size), ("spacing", spacing)):
                if value is not None:
                    raise MedscoreError(
                        f"`{name}` is {value:g}, but prior {self.name} has one matrix, "
                        f"{self.matrix}",
                        hint="leave it out, or use a prior for any matrix",
                    )
            return self
        side = DEFAULT_SIDE if size is None else size
        if not 0 < side <= LARGEST_SIDE:
            raise MedscoreError(f"`size` is {side}", hint=f"use 1 to {LARGEST_SIDE}")
        low, high = self.spacing_mm
        pixel = min(max(DEFAULT_PIXEL, low), high) if spacing is None else spacing
        check_pixel(pixel, self, "spacing")
        return self.model_copy(update={"size": side, "spacing_mm": (pixel, pixel)})

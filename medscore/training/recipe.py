"""A training recipe: the YAML of ``medscore train``, validated.

Everything that shapes the prior is in it; ``medscore.training.recipe`` says what may be said, and
:mod:`medscore.training.prior` makes data, prior and plan of it.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, field_validator, model_validator

from medscore.datasets.collections.augment import Augmentation
from medscore.io.specs import Name, Strict, read_yaml, validated
from medscore.objectives import denoising
from medscore.objectives.dequantised import Dequantised
from medscore.objectives.grey_levels import Levels
from medscore.objectives.high_order import HighOrder
from medscore.priors.contract import Network, PredictionSpec, SDESpec
from medscore.training.loop import Objective
from medscore.training.plan import TrainingPlan


class EDMObjective(Strict):
    """EDM's loss (Karras et al. 2022, Table 1): log noise-to-signal ratios drawn from a normal."""

    kind: Literal["edm"] = "edm"
    log_ratio_mean: float = -1.5
    log_ratio_std: float = Field(default=1.4, gt=0)

    def build(self, data_std: float) -> Objective:
        """The objective for data of this standard deviation."""
        return denoising.edm(data_std, self.log_ratio_mean, self.log_ratio_std)


class ScoreMatching(Strict):
    """Eq. 7.7 with the weighting of Table 9.1 and uniform times."""

    kind: Literal["score_matching"]

    def build(self, data_std: float) -> Objective:
        """The objective; it does not depend on the data."""
        return denoising.score_matching()


class Likelihood(Strict):
    """Eq. 7.7 with the likelihood weighting g^2, its times importance sampled (Eq. 9.12) or not."""

    kind: Literal["likelihood"]
    importance_sampling: bool = True

    def build(self, data_std: float) -> Objective:
        """The objective; it does not depend on the data."""
        if self.importance_sampling:
            return denoising.likelihood_importance()
        return denoising.likelihood()


class HighOrderObjective(Strict):
    """The likelihood objective, and the second and third order of Lu et al. 2022."""

    kind: Literal["high_order"]
    second: float = Field(default=1.0, ge=0)
    third: float = Field(default=0.1, ge=0)
    probes: int = Field(default=1, gt=0)

    def build(self, data_std: float) -> Objective:
        """The objective; it does not depend on the data."""
        first = denoising.likelihood_importance()
        return HighOrder(first, self.second, self.third, self.probes)


class Discrete(Strict):
    """SMLD's (Eq. 7.1) or DDPM's (Eq. 7.3) objective over N noise scales."""

    kind: Literal["smld", "ddpm"]
    scales: int = Field(default=1000, gt=1)

    def build(self, data_std: float) -> Objective:
        """The objective; it does not depend on the data."""
        return (denoising.smld if self.kind == "smld" else denoising.ddpm)(self.scales)


ObjectiveSpec = Annotated[
    EDMObjective | ScoreMatching | Likelihood | HighOrderObjective | Discrete,
    Field(discriminator="kind"),
]


def on_levels(objective: Objective, bits: int | None) -> Objective:
    """The objective on images with 2^bits dequantised grey levels; as they are for None."""
    return objective if bits is None else Dequantised(objective, Levels(bits))


class ImageRecipe(Strict):
    """The images that something is trained on, and how; unknown keys are refused.

    Attributes:
        low, high: values that become 0 and 1 in the network's range. Of ``magnitude`` images they
            are in units of the slice's own 99.5th percentile.
        size: side of the network's images; slices are loaded at ``oversample`` times that, moved
            there, and reduced.
        data, validation: patterns of files below the data folder; the patients differ.
    """

    name: Name
    modality: Literal["CT", "MR"]
    quantity: Literal["HU", "magnitude"]
    low: float
    high: float
    size: int = Field(gt=0)
    oversample: Literal[1, 2] = 2
    data: tuple[str, ...] = Field(min_length=1)
    validation: tuple[str, ...] = ()
    augmentation: Augmentation = Augmentation()
    licence: str
    plan: TrainingPlan

    @model_validator(mode="after")
    def _images_agree(self) -> ImageRecipe:
        if not self.low < self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        if (self.modality == "CT") != (self.quantity == "HU"):
            raise ValueError(f"{self.modality} images do not come as {self.quantity}")
        return self


class Recipe(ImageRecipe):
    """What a prior's training configuration may say.

    Attributes:
        start: a prior whose weights the training begins with (fine-tuning), by name or path.
        network: its parameters, or the name of one in ``configs/networks`` (``name:`` beside
            parameters overrides some of it). bits: of the grey levels that images are quantised to
            and dequantised from, anew at every step; as they are by default.
    """

    start: str | None = None
    sde: SDESpec
    network: Network
    prediction: PredictionSpec = PredictionSpec()
    objective: ObjectiveSpec = EDMObjective()
    bits: int | None = Field(default=None, ge=1, le=16)

    @field_validator("network", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        """A name becomes what its file says, with the keys beside it on top."""
        name = value if isinstance(value, str) else None
        if isinstance(value, dict) and "name" in value:
            name = value["name"]
        if name is None:
            return value
        known = network_configs()
        if name not in known:
            raise ValueError(f"no network {name!r}; there are {', '.join(sorted(known))}")
        own = {k: v for k, v in value.items() if k != "name"} if isinstance(value, dict) else {}
        return {**known[name], **own}

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        self.network.check_size(self.size)
        if getattr(self.network, "image_channels", 1) != 1:
            raise ValueError("these images have one channel: network image_channels must be 1")
        if getattr(self.network, "spatial_dims", 2) != 2:
            raise ValueError("these images are slices: network spatial_dims must be 2")
        return self


def network_configs() -> dict[str, dict[str, Any]]:
    """The networks in ``configs/networks`` by name."""
    folder = files("medscore.configs") / "networks"
    return {
        path.name.removesuffix(".yaml"): yaml.safe_load(path.read_text())
        for path in folder.iterdir()
        if path.name.endswith(".yaml")
    }


def read_recipe(path: Path) -> Recipe:
    """Read and validate a training configuration.

    Raises:
        MedscoreError: no such file, not YAML, an unknown, missing or ill-typed key.
    """
    return validated(Recipe, read_yaml(path), path)

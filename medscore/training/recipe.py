"""Training recipes: the YAML files of ``medscore train``, validated.

A recipe holds everything that determines the trained network. The modules of this package each add
the keys of one kind of network to the ones here.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

from pydantic import Field, field_validator, model_validator

from medscore.datasets.collections.augment import Augmentation
from medscore.io.specs import LARGEST_SIDE, Name, Strict, validated
from medscore.io.yaml_files import read_yaml
from medscore.nets.known import Network
from medscore.nets.spec import NetworkSpec
from medscore.priors.contract import PredictionSpec, SDESpec
from medscore.priors.noise_scales import check_levels
from medscore.training.objective_specs import EDMObjective, ObjectiveSpec
from medscore.training.plan import TrainingPlan
from medscore.training.split import Split


class TrainingRecipe(Strict):
    """Keys that every recipe has; unknown keys are refused.

    Attributes:
        name: name of the trained network and of its file.
        licence: licence of the training images and of the weights; stored in the file.
        plan: the numbers of the training run.
        folder: data folder that is used unless another one is given; absolute, or relative to the
            folder of the recipe.
    """

    name: Name
    licence: str
    plan: TrainingPlan
    folder: str | None = None


class ImageRecipe(TrainingRecipe):
    """The CT or MR slices that a network is trained on.

    Attributes:
        modality: ``CT`` or ``MR``.
        quantity: ``HU`` for CT, ``magnitude`` for MR.
        low: image value that is 0 in the network's range; for magnitudes in units of the slice's
            own 99.5th percentile.
        high: image value that is 1 in the network's range.
        size: side of the network's images in pixels.
        oversample: slices are loaded and augmented at this multiple of ``size``, then reduced.
        data: patterns of the training files, relative to the data folder.
        validation: patterns of the validation files, of other patients.
        split: splits the patients of ``data`` into training and validation, instead of
            ``validation``.
        unusable: ``refuse`` scans among ``data`` that cannot be used, such as localizers, or
            ``skip`` them with a note.
        channel: volume of 4-D NIfTI files, from 0.
        series: DICOM series of folders with several: UID, description or a part of it.
        resample: interpolate uneven or tilted DICOM slices onto an even, upright grid.
        accept: kinds of images that are used all the same; see
            :func:`medscore.datasets.load.load_image`.
        augmentation: random turns, shifts and so on.
    """

    modality: Literal["CT", "MR"]
    quantity: Literal["HU", "magnitude"]
    low: float
    high: float
    size: int = Field(gt=0, le=LARGEST_SIDE)
    oversample: Literal[1, 2] = 2
    data: tuple[str, ...] = Field(min_length=1)
    validation: tuple[str, ...] = ()
    split: Split | None = None
    unusable: Literal["refuse", "skip"] = "refuse"
    channel: int | None = Field(default=None, ge=0)
    series: str | None = None
    resample: bool = False
    accept: tuple[str, ...] = ()
    augmentation: Augmentation = Augmentation()

    @model_validator(mode="after")
    def _images_agree(self) -> ImageRecipe:
        if not self.low < self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        if (self.modality == "CT") != (self.quantity == "HU"):
            raise ValueError(f"the quantity of {self.modality} images cannot be {self.quantity}")
        if self.split is not None and self.validation:
            raise ValueError("split and validation exclude each other: set one of them")
        return self


def check_scales(
    network: NetworkSpec, prediction: PredictionSpec, objective: ObjectiveSpec
) -> None:
    """Reject network, prediction and objective of different noise scales.

    Args:
        network: parameters of the network.
        prediction: what it predicts and is conditioned on.
        objective: the loss.

    Raises:
        ValueError: as :func:`~medscore.priors.noise_scales.check_levels`, or the objective is one
            of another number of scales.
    """
    check_levels(network, prediction.condition, prediction.levels)
    scales = getattr(objective, "scales", prediction.levels)
    if prediction.condition == "level" and scales != prediction.levels:
        raise ValueError(
            f"objective.scales is {scales}, and prediction.levels {prediction.levels}: set both to "
            "the same number"
        )


class PriorRecipe(ImageRecipe):
    """The recipe of a prior of CT or MR slices.

    Attributes:
        start: name or path of a prior whose weights the training starts with (fine-tuning).
        sde: the forward diffusion.
        network: the network's parameters, or the name of one in ``configs/networks``, or a mapping
            with such a ``name`` and parameters that override its own.
        prediction: what the network predicts and is conditioned on.
        objective: the loss.
        bits: quantise the images to 2^bits grey levels and dequantise them at every step; None
            leaves them as they are.
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
        """Replace a name by the parameters in its file; keys beside the name override them."""
        name = value if isinstance(value, str) else None
        if isinstance(value, dict) and "name" in value:
            name = value["name"]
        if name is None:
            return value
        known = network_configs()
        if name not in known:
            raise ValueError(f"no network {name!r}; use one of: {', '.join(sorted(known))}")
        own = {k: v for k, v in value.items() if k != "name"} if isinstance(value, dict) else {}
        return {**known[name], **own}

    @model_validator(mode="after")
    def _consistent(self) -> PriorRecipe:
        self.network.check_size(self.size)
        check_scales(self.network, self.prediction, self.objective)
        if self.network.context:
            raise ValueError(
                f"network {self.network.kind} needs the pixel size: use a recipe with sources"
            )
        if getattr(self.network, "image_channels", 1) != 1:
            raise ValueError("these images have one channel: network image_channels must be 1")
        if getattr(self.network, "spatial_dims", 2) != 2:
            raise ValueError("these images are slices: network spatial_dims must be 2")
        return self


Recipe = TypeVar("Recipe", bound=TrainingRecipe)


@overload
def read_recipe(
    path: str | Path, *, steps: int | None = None, patterns: Sequence[str] = ()
) -> PriorRecipe: ...


@overload
def read_recipe(
    path: str | Path,
    kind: type[Recipe],
    *,
    steps: int | None = None,
    patterns: Sequence[str] = (),
) -> Recipe: ...


def read_recipe(
    path: str | Path,
    kind: type[Any] = PriorRecipe,
    *,
    steps: int | None = None,
    patterns: Sequence[str] = (),
) -> Any:
    """Read and validate a recipe.

    Args:
        path: YAML file.
        kind: the kind of recipe that it must be; by default that of a prior of slices.
        steps: number of training steps, instead of the recipe's.
        patterns: patterns of the training files, instead of the recipe's.

    Raises:
        MedscoreError: the file does not exist or is not YAML, or a key is unknown, missing or
            invalid.
    """
    recipe = validated(kind, read_yaml(Path(path)), Path(path))
    changed: dict[str, Any] = {}
    if patterns:
        name = "data" if "data" in kind.model_fields else "pictures"
        changed = {name: tuple(patterns), "validation": ()}
    if steps is not None:
        changed["plan"] = recipe.plan.with_steps(steps)
    return recipe.model_copy(update=changed)


def network_configs() -> dict[str, dict[str, Any]]:
    """The parameters of the networks in ``configs/networks``, by name."""
    folder = files("medscore.configs") / "networks"
    return {
        path.name.removesuffix(".yaml"): read_yaml(Path(str(path)))
        for path in folder.iterdir()
        if path.name.endswith(".yaml")
    }

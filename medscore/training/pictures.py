"""Training a prior of natural images, grayscale or colour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import Field, model_validator
from torch import Tensor

from medscore.datasets.collections.pictures import Pictures, load_pictures
from medscore.errors import MedscoreError
from medscore.io.specs import LARGEST_SIDE
from medscore.nets.known import Network
from medscore.priors.contract import DataContract, PredictionSpec, SDESpec
from medscore.priors.network import NetworkPrior
from medscore.training.data import TrainingData, data_statistics, provenance_of
from medscore.training.identity import identity_of
from medscore.training.loop import Batches
from medscore.training.objective_specs import EDMObjective, ObjectiveSpec, with_levels
from medscore.training.prior import prior_run
from medscore.training.recipe import TrainingRecipe, check_scales, read_recipe
from medscore.training.run import TrainingRun

VALIDATION_COUNT = 256
"""Largest number of validation images of a prior, the first ones."""


class PictureData(TrainingRecipe):
    """The images that a network is trained on.

    Attributes:
        pictures: patterns of the training files, relative to the data folder.
        validation: patterns of the validation files.
        size: side of the network's images in pixels.
        colour: three channels instead of one.
        white: value of arrays that is 1 in the network's range.
        mirror: mirror half of the images left to right.
    """

    pictures: tuple[str, ...] = Field(min_length=1)
    validation: tuple[str, ...] = ()
    size: int = Field(gt=0, le=LARGEST_SIDE)
    colour: bool = False
    white: float | None = Field(default=None, gt=0)
    mirror: bool = False

    @property
    def channels(self) -> int:
        """Channels of the images, three with colour and one without."""
        return 3 if self.colour else 1

    @property
    def quantity(self) -> str:
        """Kind of the images: "colour" or "grey"."""
        return "colour" if self.colour else "grey"

    def load(self, patterns: tuple[str, ...], root: Path) -> Pictures:
        """Load images.

        Args:
            patterns: patterns of files, relative to ``root``.
            root: data folder.

        Raises:
            MedscoreError: as :func:`~medscore.datasets.collections.pictures.load_pictures`.
        """
        return load_pictures(
            patterns, root=root, size=self.size, colour=self.colour, white=self.white
        )

    def data(self, path: Path, images: Tensor, validation: Tensor | None) -> TrainingData:
        """The data of a run.

        Args:
            path: file of the recipe.
            images: training images (n, channel, size, size).
            validation: validation images of the same shape, if any.
        """
        return TrainingData(
            batch=self._batches(images),
            validation=validation,
            provenance=provenance_of(self, path, self.pictures, patients=0, images=len(images)),
            identity=identity_of(self, images),
        )

    def _batches(self, images: Tensor) -> Batches:
        def batch(generator: torch.Generator, part: slice) -> Tensor:
            index = torch.randint(len(images), (self.plan.batch,), generator=generator)
            flip = torch.rand(self.plan.batch, generator=generator) < 0.5
            chosen = images[index[part]]
            if not self.mirror:
                return chosen
            return torch.where(flip[part, None, None, None], chosen.flip(3), chosen)

        return batch


class PictureRecipe(PictureData):
    """The recipe of a prior of images other than CT or MR slices.

    Attributes:
        sde: the forward diffusion.
        network: the network's parameters.
        prediction: what the network predicts and is conditioned on.
        objective: the loss.
        bits: quantise the images to 2^bits grey levels and dequantise them at every step; None
            leaves them as they are.
    """

    sde: SDESpec
    network: Network
    prediction: PredictionSpec = PredictionSpec()
    objective: ObjectiveSpec = EDMObjective()
    bits: int | None = Field(default=None, ge=1, le=16)

    @model_validator(mode="after")
    def _consistent(self) -> PictureRecipe:
        self.network.check_size(self.size)
        check_scales(self.network, self.prediction, self.objective)
        if self.network.context:
            raise ValueError(f"network {self.network.kind} is for CT images: it needs a pixel size")
        channels = getattr(self.network, "image_channels", 1)
        if channels != self.channels:
            raise ValueError(
                f"network image_channels is {channels}, but the images have {self.channels}"
            )
        return self


def prepare_pictures(
    path: Path,
    root: Path,
    *,
    steps: int | None = None,
    cache: Path | None = None,
    patterns: Sequence[str] = (),
) -> TrainingRun[NetworkPrior]:
    """Prepare the training of a prior of any images.

    Args:
        path: file of the recipe.
        root: data folder.
        steps: number of training steps, instead of the recipe's.
        cache: not used; such images are read anew in every run.
        patterns: patterns of the training files, instead of the recipe's.

    Raises:
        MedscoreError: the recipe is invalid, the images cannot be loaded, or all are constant.
    """
    recipe = read_recipe(path, PictureRecipe, steps=steps, patterns=patterns)
    images = recipe.load(recipe.pictures, root).images
    mean, std = data_statistics(images)
    if not std > 0:
        raise MedscoreError(
            "all training images are constant (zero variance)",
            where=path,
            hint="check the patterns under `pictures`",
        )
    validation = None
    if recipe.validation:
        validation = recipe.load(recipe.validation, root).images[:VALIDATION_COUNT]
    data = recipe.data(path, images, validation)
    contract = DataContract(
        name=recipe.name,
        modality="picture",
        quantity="colour" if recipe.colour else "grey",
        low=0,
        high=1 if recipe.white is None else recipe.white,
        size=recipe.size,
        spacing_mm=(1.0, 1.0),
        data_mean=mean,
        data_std=std,
        sde=recipe.sde,
        network=recipe.network,
        prediction=recipe.prediction,
        provenance=data.provenance,
    )
    objective = with_levels(recipe.objective.build(contract.data_std), recipe.bits)
    return prior_run(path, recipe.plan, objective, data, contract, lambda: f"{len(images)} images")

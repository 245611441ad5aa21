"""Training a CT prior for any matrix size and pixel size, on crops of slices at their own matrix.

Each batch carries, behind the images, the context maps that the network is conditioned on
(:mod:`medscore.nets.context`): log pixel size and position.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator
from torch import Tensor

from medscore.datasets.collections.crops import Crops, NativeSlice
from medscore.datasets.collections.native_slices import load_native_slices
from medscore.errors import MedscoreError
from medscore.io.specs import Side, Strict
from medscore.nets.context import POSITION_MM, InContext
from medscore.nets.local_unet import LocalUNetSpec
from medscore.priors.contract import DataContract, SDESpec
from medscore.priors.network import NetworkPrior
from medscore.training.data import TrainingData, identity_of, provenance_of
from medscore.training.loop import Objective
from medscore.training.objective_specs import EDMObjective, ObjectiveSpec
from medscore.training.prior import prior_run
from medscore.training.recipe import TrainingRecipe, read_recipe
from medscore.training.run import TrainingRun
from medscore.training.sized_validation import validation_of


class SourceSpec(Strict):
    """A group of training files and its share of the crops.

    Attributes:
        files: patterns of the files, relative to the data folder.
        weight: share of the crops, relative to the other groups.
    """

    files: tuple[str, ...] = Field(min_length=1)
    weight: float = Field(default=1.0, gt=0)


class CropSpec(Strict):
    """The crops that the network is trained on.

    Attributes:
        sizes: sides of the crops in pixels; each batch has one of them.
        native: share of the crops that keep the pixel size of their source.
        pixel_mm: smallest and largest pixel size of the prior in mm; images are reduced up to the
            largest.
        quarter_turns: rotate slices by multiples of 90 degrees.
    """

    sizes: tuple[Side, ...] = Field(min_length=1)
    native: float = Field(default=0.4, ge=0, lt=1)
    pixel_mm: tuple[float, float] = (0.4, 3.0)
    quarter_turns: bool = True


class NativeRecipe(TrainingRecipe):
    """The recipe of a CT prior for any matrix size.

    Attributes:
        modality: modality of the images, ``CT``.
        quantity: quantity of the pixel values, ``HU``.
        low: image value that is 0 in the network's range.
        high: image value that is 1 in the network's range.
        sources: groups of training files.
        validation: patterns of the validation files, of other patients.
        validation_sizes: matrix sizes to which the validation slices are reduced.
        crops: the crops.
        sde: the forward diffusion.
        network: parameters of the network, which must be fully convolutional.
        objective: the loss.
    """

    modality: Literal["CT"]
    quantity: Literal["HU"]
    low: float
    high: float
    sources: tuple[SourceSpec, ...] = Field(min_length=1)
    validation: tuple[str, ...] = ()
    validation_sizes: tuple[Side, ...] = (128, 256, 512)
    crops: CropSpec
    sde: SDESpec
    network: LocalUNetSpec
    objective: ObjectiveSpec = EDMObjective()

    @model_validator(mode="after")
    def _consistent(self) -> NativeRecipe:
        if not self.low < self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        for size in (*self.crops.sizes, *self.validation_sizes):
            self.network.check_size(size)
        return self


@dataclass(frozen=True)
class PlacedLoss:
    """An objective on batches that carry context maps behind the images.

    Attributes:
        objective: the loss of images.
        channels: channels of the images.
    """

    objective: Objective
    channels: int = 1

    def __call__(self, prior: NetworkPrior, batch: Tensor, u: Tensor, z: Tensor) -> Tensor:
        """The loss of each sample, (batch,).

        Args:
            prior: prior whose network takes context maps.
            batch: images and context maps (batch, channels + maps, H, W).
            u: uniform draws (batch,).
            z: white noise of the shape of ``batch``, of which the first channels are used.
        """
        images, context = batch[:, : self.channels], batch[:, self.channels :]
        placed = prior.around(InContext(prior.network, context))
        return self.objective(placed, images, u, z[:, : self.channels])


def prepare_native(
    path: Path,
    root: Path,
    *,
    steps: int | None = None,
    cache: Path | None = None,
    patterns: Sequence[str] = (),
) -> TrainingRun[NetworkPrior]:
    """Prepare the training of a prior for any matrix size.

    Args:
        path: file of the recipe.
        root: data folder.
        steps: number of training steps, instead of the recipe's.
        cache: not used; slices at their own matrix are read anew in every run.
        patterns: patterns of the training files, instead of the recipe's.

    Raises:
        MedscoreError: the recipe is invalid, the data cannot be loaded, or a patient is in both
            data and validation.
    """
    recipe = read_recipe(path, NativeRecipe, steps=steps)
    if patterns:
        only = SourceSpec(files=tuple(patterns))
        recipe = recipe.model_copy(update={"sources": (only,), "validation": ()})
    limits = recipe.low, recipe.high
    groups = [load_native_slices(s.files, root, limits) for s in recipe.sources]
    patients = {patient for group in groups for patient in group.patients}
    crops = Crops(
        [group.slices for group in groups],
        tuple(source.weight for source in recipe.sources),
        recipe.crops.sizes,
        POSITION_MM,
        native=recipe.crops.native,
        pixel_mm=recipe.crops.pixel_mm[1],
        quarter_turns=recipe.crops.quarter_turns,
    )
    every = [s for group in groups for s in group.slices]
    validation = load_native_slices(recipe.validation, root, limits) if recipe.validation else None
    if validation and (both := sorted(patients & set(validation.patients))):
        raise MedscoreError(
            f"patient {both[0]} is in sources and in validation",
            where=path,
            hint="split the data by patient",
        )
    mean, std = _statistics(every)
    files = [pattern for source in recipe.sources for pattern in source.files]
    provenance = provenance_of(recipe, path, files, patients=len(patients), images=len(every))
    data = TrainingData(
        batch=lambda generator, part: crops.batch(recipe.plan.batch, generator, part),
        validation=None,
        provenance=provenance,
        identity=identity_of(recipe, (s.image for s in every)),
    )
    contract = DataContract(
        name=recipe.name,
        modality=recipe.modality,
        quantity=recipe.quantity,
        low=recipe.low,
        high=recipe.high,
        size=None,
        spacing_mm=recipe.crops.pixel_mm,
        data_mean=mean,
        data_std=std,
        sde=recipe.sde,
        network=recipe.network,
        provenance=provenance,
    )
    objective = PlacedLoss(recipe.objective.build(std))
    run = prior_run(
        path, recipe.plan, objective, data, contract,
        lambda: f"{len(every)} slices of {len(patients)} patients",
    )  # fmt: skip
    if validation is None:
        return run
    sized = validation_of(validation.slices, recipe.validation_sizes, objective)
    return replace(run, validator=sized)


def _statistics(slices: list[NativeSlice]) -> tuple[float, float]:
    """Mean and standard deviation over all pixels, each slice with the same weight."""
    first = sum(float(s.image.double().mean()) for s in slices) / len(slices)
    second = sum(float(s.image.double().square().mean()) for s in slices) / len(slices)
    return round(first, 4), round(math.sqrt(second - first**2), 4)

"""Training a prior for any matrix size and pixel size, on crops of slices at their own matrix.

Each batch carries, behind the images, the context maps that the network is conditioned on
(:mod:`medscore.nets.context`): log pixel size, position, and the contrast if it has classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medscore.datasets.collections.crops import Crops, NativeSlice
from medscore.datasets.collections.native_slices import NativeSlices, Reading, load_native_slices
from medscore.errors import MedscoreError
from medscore.nets.context import POSITION_MM, InContext
from medscore.priors.contract import DataContract
from medscore.priors.network import NetworkPrior
from medscore.training.data import TrainingData, provenance_of, slice_summary
from medscore.training.identity import identity_of
from medscore.training.loop import Loss, Objective
from medscore.training.native_recipe import NativeRecipe, SourceSpec
from medscore.training.prior import prior_run
from medscore.training.recipe import read_recipe
from medscore.training.run import TrainingRun
from medscore.training.sized_validation import SizedValidation, validation_of


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
    recipe, found = load_native_data(recipe, path, root, patterns)
    mean, std = _statistics(found.slices, recipe.channels)
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
        provenance=found.data.provenance,
    )
    objective = PlacedLoss(recipe.objective.build(std), recipe.channels)
    run = prior_run(
        path, recipe.plan, objective, found.data, contract, lambda: slice_summary(found.data)
    )
    return replace(run, validator=found.validator(recipe, objective))


@dataclass(frozen=True)
class NativeData:
    """The slices of a recipe and the crops of them.

    Attributes:
        data: the batches, and what identifies them.
        slices: the training slices.
        crops: draws the crops.
        held_out: the validation slices; None if the recipe names none.
    """

    data: TrainingData
    slices: list[NativeSlice]
    crops: Crops
    held_out: NativeSlices | None

    def validator(self, recipe: NativeRecipe, objective: Loss[Any]) -> SizedValidation | None:
        """The validation loss; None without validation slices.

        Args:
            recipe: the recipe.
            objective: the loss of each sample.
        """
        if self.held_out is None:
            return None
        return validation_of(
            self.held_out.slices, recipe.validation_sizes, objective,
            labels=self.crops.labels, phase=self.crops.phase,
        )  # fmt: skip


def load_native_data(
    recipe: NativeRecipe, path: Path, root: Path, patterns: Sequence[str] = ()
) -> tuple[NativeRecipe, NativeData]:
    """Load the slices of a recipe.

    Args:
        recipe: the recipe.
        path: its file.
        root: data folder.
        patterns: patterns of the training files, instead of the recipe's.

    Returns:
        The recipe, with the patterns that were used, and the data.

    Raises:
        MedscoreError: the data cannot be loaded, or a patient is in both data and validation.
    """
    if patterns:
        only = SourceSpec(files=tuple(patterns))
        recipe = recipe.model_copy(update={"sources": (only,), "validation": ()})
    groups = [load_native_slices(s.files, root, _reading(recipe, s)) for s in recipe.sources]
    _check_classes(recipe, groups, path, every=not patterns)
    patients = {patient for group in groups for patient in group.patients}
    crops = Crops(
        [group.slices for group in groups],
        tuple(source.weight for source in recipe.sources),
        recipe.crops.sizes,
        POSITION_MM,
        native=recipe.crops.native,
        pixel_mm=recipe.crops.pixel_mm[1],
        quarter_turns=recipe.crops.quarter_turns,
        gain=recipe.crops.gain,
        labels=bool(recipe.network.classes),
        dropout=recipe.class_dropout,
        phase=recipe.quantity == "complex",
    )
    every = [s for group in groups for s in group.slices]
    validation = None
    if recipe.validation:
        validation = load_native_slices(recipe.validation, root, _reading(recipe))
    if validation and (both := sorted(patients & set(validation.patients))):
        raise MedscoreError(
            f"patient {both[0]} is in sources and in validation",
            where=path,
            hint="split the data by patient",
        )
    files = [pattern for source in recipe.sources for pattern in source.files]
    provenance = provenance_of(recipe, path, files, patients=len(patients), images=len(every))
    data = TrainingData(
        batch=lambda generator, part: crops.batch(recipe.plan.batch, generator, part),
        validation=None,
        provenance=provenance,
        identity=identity_of(recipe, _identifying(every, recipe)),
    )
    return recipe, NativeData(data, every, crops, validation)


def _reading(recipe: NativeRecipe, source: SourceSpec | None = None) -> Reading:
    """What the values of the training files are, or of the validation files without a source."""
    return Reading(
        limits=(recipe.low, recipe.high),
        quantity="HU" if recipe.quantity == "HU" else "magnitude",
        classes=recipe.network.classes,
        contrast=source.contrast if source else None,
        pixel_mm=recipe.pixel_mm,
    )


def _check_classes(
    recipe: NativeRecipe, groups: Sequence[NativeSlices], path: Path, *, every: bool
) -> None:
    """Refuse sources whose contrast nobody states, and with ``every`` classes without slices."""
    if not recipe.network.classes:
        return
    found = set[int]()
    for source, group in zip(recipe.sources, groups, strict=True):
        labels = {one.label for one in group.slices}
        if labels == {0} and source.contrast is None:
            raise MedscoreError(
                f"the contrast of {source.files[0]} is not known: its files state none of "
                f"{', '.join(recipe.network.classes)}",
                where=path,
                hint="state `contrast` of that source in the recipe; `none` if it is not known",
            )
        found |= labels
    missing = [c for i, c in enumerate(recipe.network.classes, 1) if i not in found]
    if missing and every:
        raise MedscoreError(
            f"no slice has the contrast {missing[0]}",
            where=path,
            hint="leave it out of the network's `classes`, or add a source",
        )


def _identifying(slices: Sequence[NativeSlice], recipe: NativeRecipe) -> Iterator[Tensor]:
    """The images, and for a network with classes their labels."""
    yield from (one.image for one in slices)
    if recipe.network.classes:
        yield torch.tensor([one.label for one in slices])


def _statistics(slices: Sequence[NativeSlice], channels: int) -> tuple[float, float]:
    """Mean and standard deviation over all pixels, each slice with the same weight.

    Complex images have the mean zero, since every phase is equally probable; their standard
    deviation is that of the real part.
    """
    first = sum(float(s.image.double().mean()) for s in slices) / len(slices)
    second = sum(float(s.image.double().square().mean()) for s in slices) / len(slices)
    if channels == 2:
        return 0.0, round(math.sqrt(second / 2), 4)
    return round(first, 4), round(math.sqrt(second - first**2), 4)

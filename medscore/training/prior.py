"""Training a prior of CT or MR slices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from medscore.errors import MedscoreError
from medscore.priors.catalogue import prior_path
from medscore.priors.checkpoint import PRIOR, Checkpoint, build_prior, fill, verify
from medscore.priors.contract import DataContract, PredictionSpec
from medscore.priors.network import NetworkPrior
from medscore.sdes.noise_levels import largest_distance
from medscore.training.data import (
    TrainingData,
    data_statistics,
    load_slice_data,
    reduced,
    slice_summary,
)
from medscore.training.loop import Loss
from medscore.training.objective_specs import with_levels
from medscore.training.plan import TrainingPlan
from medscore.training.recipe import PriorRecipe, read_recipe
from medscore.training.run import TrainingRun
from medscore.training.validation import draw_samples

if TYPE_CHECKING:
    from medscore.datasets.collections.slice_cache import Slices


def prepare_prior(
    path: Path,
    root: Path,
    *,
    steps: int | None = None,
    cache: Path | None = None,
    patterns: Sequence[str] = (),
) -> TrainingRun[NetworkPrior]:
    """Prepare the training of a prior of slices, from random weights or from another prior's.

    Args:
        path: file of the recipe.
        root: data folder.
        steps: number of training steps, instead of the recipe's.
        cache: folder that keeps the slices for later runs; None keeps none.
        patterns: patterns of the training files, instead of the recipe's.

    Raises:
        MedscoreError: the recipe is invalid, the data cannot be loaded, a patient is in both data
            and validation, or the weights of ``start`` cannot be used.
    """
    recipe = read_recipe(path, PriorRecipe, steps=steps, patterns=patterns)
    slices, data = load_slice_data(recipe, path, root, cache)
    start = None if recipe.start is None else _start(recipe, prior_path(recipe.start))

    def describe() -> str:
        distance = largest_distance(reduced(slices.images, recipe.oversample))
        return (
            f"{slice_summary(data)}; the largest distance between two of them is {distance:.1f}, "
            "which is a good sigma_max (Technique 6.1)"
        )

    contract = _contract(recipe, slices, data, start)
    objective = with_levels(recipe.objective.build(contract.data_std), recipe.bits)
    run = prior_run(path, recipe.plan, objective, data, contract, describe)
    if start is not None:
        fill(run.model, start, prior_path(recipe.start or ""))
    return run


def prior_run(
    path: Path,
    plan: TrainingPlan,
    objective: Loss[NetworkPrior],
    data: TrainingData,
    contract: DataContract,
    describe: Callable[[], str],
) -> TrainingRun[NetworkPrior]:
    """The training run of any prior, with a network initialised by the plan's seed.

    Args:
        path: file of the recipe.
        plan: the numbers of the run.
        objective: the loss.
        data: the training images.
        contract: header of the prior's file.
        describe: makes a line of text about the run.
    """
    torch.manual_seed(plan.seed)  # network initialisation takes no generator
    prior = build_prior(contract)
    drawn = contract.at()
    grid, pixel_mm = (drawn.side, drawn.side), drawn.spacing_mm[0]
    shape = (contract.channels, *grid)
    return TrainingRun(
        recipe=path,
        plan=plan,
        data=data,
        model=prior,
        objective=objective,
        contract=contract,
        file=PRIOR,
        describe=describe,
        samples=lambda model, picture: draw_samples(model.on_grid(grid, pixel_mm), shape, picture),
    )


def _contract(
    recipe: PriorRecipe, slices: Slices, data: TrainingData, start: Checkpoint | None
) -> DataContract:
    provenance = data.provenance
    if start is None:
        mean, std = data_statistics(reduced(slices.images, recipe.oversample))
    else:
        mean, std = start.contract.data_mean, start.contract.data_std  # the weights expect them
        origin = f"{provenance.data}; begun with {start.contract.name} ({start.sha256[:12]})"
        provenance = provenance.model_copy(update={"data": origin})
    spacing = recipe.oversample * slices.spacing_mm[np.isfinite(slices.spacing_mm)]
    if not len(spacing):
        raise MedscoreError(
            "none of the training files states its pixel size",
            where=recipe.name,
            hint="add `pixel_spacing_mm` to the archives",
        )
    low, high = recipe.augmentation.zoom
    return DataContract(
        name=recipe.name,
        modality=recipe.modality,
        quantity=recipe.quantity,
        low=recipe.low,
        high=recipe.high,
        size=recipe.size,
        spacing_mm=(
            round(float(spacing.min()) / max(1.0, high), 3),
            round(float(spacing.max()) / min(1.0, low), 3),
        ),
        data_mean=mean,
        data_std=std,
        sde=recipe.sde,
        network=recipe.network,
        prediction=recipe.prediction,
        provenance=provenance,
    )


def _start(recipe: PriorRecipe, path: Path) -> Checkpoint:
    """The prior that the training starts from; its weights must have the same meaning here.

    With the EDM preconditioning the network sees the data's units and the noise-to-signal ratio
    only, so that the SDE may change.
    """
    start = verify(path)
    for name in ("network", "prediction", "sde"):
        ours, theirs = getattr(recipe, name), getattr(start.contract, name)
        free = name == "sde" and recipe.prediction == PredictionSpec()
        if ours != theirs and not free:
            raise MedscoreError(
                f"{name} is {theirs} in this prior and {ours} in the recipe",
                where=path,
                hint="use the same, or train without `start`",
            )
    return start

"""From a recipe and a data folder to everything a training run needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from medscore.datasets.collections.slice_cache import Slices
from medscore.errors import MedscoreError
from medscore.priors.checkpoint import Checkpoint, build_prior, fill, verify
from medscore.priors.contract import DataContract, PredictionSpec
from medscore.priors.network import NetworkPrior
from medscore.sdes.noise_levels import largest_distance
from medscore.training.data import (
    augmented,
    data_statistics,
    held_out,
    identity_of,
    provenance_of,
    reduced,
    training_slices,
)
from medscore.training.loop import Batches, Objective
from medscore.training.plan import TrainingPlan
from medscore.training.recipe import Recipe, on_levels, read_recipe
from medscore.training.validation import Validation


@dataclass(frozen=True)
class Run:
    """Everything :func:`medscore.training.loop.train` needs, and what its outcome is.

    Attributes:
        contract: what the images of the prior are.
        slices: at ``oversample`` times the prior's size.
        validation: ``None`` where the recipe names no validation data.
        identity: what a saved state of this run must have in common with it.
    """

    prior: NetworkPrior
    contract: DataContract
    plan: TrainingPlan
    objective: Objective
    batch: Batches
    slices: Slices
    oversample: int
    validation: Validation | None
    identity: dict[str, str]

    def largest_distance(self) -> float:
        """Between two training images at the prior's size: what sigma_max should be about."""
        return largest_distance(reduced(self.slices.images, self.oversample))


def prepare(
    path: Path,
    data_root: Path,
    *,
    steps: int | None = None,
    find_prior: Callable[[str], Path] = Path,
    cache: Path | None = None,
) -> Run:
    """Load the recipe's slices and build its untrained prior, seeded by the plan, or load the
    prior it starts from.

    Args:
        steps: train this many steps instead of the recipe's.
        find_prior: the file of the prior named by ``start``.
        cache: folder that keeps the slices that were read.

    Raises:
        MedscoreError: as :func:`~medscore.training.recipe.read_recipe`,
            :func:`~medscore.datasets.collections.slices.load_slices` and
            :func:`~medscore.priors.checkpoint.verify`; patients that are in data and validation; a
            ``start`` of another network.
    """
    recipe = read_recipe(path)
    plan = recipe.plan
    if steps is not None:
        plan = plan.shortened(steps)
    slices = training_slices(recipe, recipe.data, data_root, cache)
    start = None
    if recipe.start is not None:
        begun = find_prior(recipe.start)
        start = verify(begun)
        _check_start(recipe, start.contract, begun)
    contract = _contract(recipe, plan, slices, start, path)
    torch.manual_seed(plan.seed)  # network initialisation takes no generator
    prior = build_prior(contract)
    if start is not None:
        fill(prior, start, begun)
    objective = on_levels(recipe.objective.build(contract.data_std), recipe.bits)
    few = held_out(path, recipe, slices, data_root, cache)
    validation = None if few is None else Validation(few, objective, plan.batch)
    return Run(
        prior,
        contract,
        plan,
        objective,
        augmented(recipe, plan, slices),
        slices,
        recipe.oversample,
        validation,
        identity_of(recipe, plan, slices.images),
    )


def _contract(
    recipe: Recipe, plan: TrainingPlan, slices: Slices, start: Checkpoint | None, path: Path
) -> DataContract:
    mean, std = (round(v, 4) for v in data_statistics(reduced(slices.images, recipe.oversample)))
    data = ", ".join(recipe.data)
    if start is not None:
        mean, std = start.contract.data_mean, start.contract.data_std  # the weights expect them
        data += f"; begun with {start.contract.name} ({start.sha256[:12]})"
    spacing = recipe.oversample * slices.spacing_mm[np.isfinite(slices.spacing_mm)]
    if not len(spacing):
        raise MedscoreError(
            "no file says how large its pixels are",
            where=recipe.name,
            hint="give archives `pixel_spacing_mm`",
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
        provenance=provenance_of(recipe, plan, slices, path).model_copy(update={"data": data}),
    )


def _check_start(recipe: Recipe, begun: DataContract, path: Path) -> None:
    """The weights must mean the same here as where they come from.

    With the EDM target the network sees the data's units and the noise-to-signal ratio only, so
    it may go on with another SDE.
    """
    for name in ("network", "prediction", "sde"):
        ours, theirs = getattr(recipe, name), getattr(begun, name)
        free = name == "sde" and recipe.prediction == PredictionSpec()
        if ours != theirs and not free:
            raise MedscoreError(
                f"{name} is {theirs}, the recipe's is {ours}",
                where=path,
                hint="use the same, or train without `start`",
            )

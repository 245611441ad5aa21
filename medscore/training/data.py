"""Training slices, their statistics and provenance, and the validation split."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from medscore.datasets.collections.augment import draw_batch
from medscore.datasets.collections.slice_cache import Slices
from medscore.datasets.collections.slices import load_slices
from medscore.errors import MedscoreError
from medscore.io.specs import Strict
from medscore.priors.contract import Provenance
from medscore.training.loop import Batches
from medscore.training.plan import TrainingPlan
from medscore.training.recipe import ImageRecipe

VALIDATED = 64
"""At most so many validation slices are looked at, equally spaced among all."""


def reduced(images: Tensor, factor: int) -> Tensor:
    """Slices (n, H, W) as images (n, 1, H / factor, W / factor), by block mean."""
    return functional.avg_pool2d(images[:, None].float(), factor)


def data_statistics(images: Tensor) -> tuple[float, float]:
    """Mean and standard deviation over all pixels, for the preconditioning."""
    values = images.double()
    mean = float(values.mean())
    return mean, float((values - mean).square().mean().sqrt())


def identity_of(recipe: Strict, plan: TrainingPlan, images: Tensor) -> dict[str, str]:
    """What a saved state of a run on ``images`` must have in common with it."""
    return {
        "recipe": _digest(recipe.model_dump_json(exclude={"plan", "name", "licence"})),
        "seed": str(plan.seed),
        "batch": str(plan.batch),
        "images": hashlib.sha256(images.numpy().data).hexdigest()[:12],
    }


def held_out(
    path: Path, recipe: ImageRecipe, slices: Slices, root: Path, cache: Path | None
) -> Tensor | None:
    """At most ``VALIDATED`` validation images (n, 1, size, size); None where the recipe, the file
    ``path``, names none.

    Raises:
        MedscoreError: patients that are among ``slices``, the training's.
    """
    if not recipe.validation:
        return None
    found = training_slices(recipe, recipe.validation, root, cache)
    _check_apart(path, slices, found)
    chosen = np.linspace(0, len(found.images) - 1, min(VALIDATED, len(found.images)))
    few = found.images[torch.from_numpy(chosen.round()).long()]
    return reduced(few, recipe.oversample)


def training_slices(
    recipe: ImageRecipe, patterns: tuple[str, ...], root: Path, cache: Path | None
) -> Slices:
    """The slices of patterns below a data folder, as the recipe wants them.

    Raises:
        MedscoreError: as :func:`~medscore.datasets.collections.slices.load_slices`.
    """
    return load_slices(
        patterns,
        root=root,
        side=recipe.oversample * recipe.size,
        low=recipe.low,
        high=recipe.high,
        quantity=recipe.quantity,
        cache=cache,
    )


def provenance_of(
    recipe: ImageRecipe, plan: TrainingPlan, slices: Slices, path: Path
) -> Provenance:
    """Of what is trained on ``slices`` by the recipe, which is the file ``path``."""
    return Provenance(
        data=", ".join(recipe.data),
        patients=len(set(slices.patients)),
        slices=len(slices.images),
        steps=plan.steps,
        seed=plan.seed,
        licence=recipe.licence,
        config_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )


def augmented(recipe: ImageRecipe, plan: TrainingPlan, slices: Slices) -> Batches:
    """Draws batches of augmented slices, (part, 1, size, size)."""

    def batch(generator: torch.Generator, part: slice) -> Tensor:
        return draw_batch(
            slices.images, recipe.augmentation, generator, batch=plan.batch, part=part,
            oversample=recipe.oversample,
        )  # fmt: skip

    return batch


def _check_apart(path: Path, slices: Slices, held_out: Slices) -> None:
    both = sorted(set(slices.patients) & set(held_out.patients))
    if both:
        raise MedscoreError(
            f"patient {both[0]} is in data and in validation ({len(both)} are): in "
            f"{slices.scan_of(both[0])} and {held_out.scan_of(both[0])}",
            where=path,
            hint="split by patient",
        )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]

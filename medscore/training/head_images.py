"""The images that a learned covariance is trained on: those of the recipe of its prior."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medscore.errors import MedscoreError
from medscore.io.yaml_files import read_yaml
from medscore.priors.contract import DataContract
from medscore.training.data import TrainingData, load_slice_data
from medscore.training.loop import Loss
from medscore.training.native import load_native_data
from medscore.training.native_recipe import NativeRecipe
from medscore.training.pictures import VALIDATION_COUNT, PictureRecipe
from medscore.training.plan import TrainingPlan
from medscore.training.recipe import PriorRecipe, read_recipe
from medscore.training.validation import Validation

Validator = Callable[[Any], float]


@dataclass(frozen=True)
class HeadImages:
    """The images of a prior's recipe.

    Attributes:
        data: the batches, and what identifies them.
        validator: makes the validation loss of an objective; None without validation images.
        bits: grey levels that the images are quantised to, 2^bits; None leaves them as they are.
    """

    data: TrainingData
    validator: Callable[[Loss[Any]], Validator | None]
    bits: int | None = None


def load_images(
    path: Path,
    plan: TrainingPlan,
    body: DataContract,
    root: Path,
    cache: Path | None,
    patterns: Sequence[str],
) -> HeadImages:
    """Load the images of a prior's recipe.

    Args:
        path: file of that recipe, of any kind of prior.
        plan: the numbers of the run, which replace the recipe's.
        body: the prior's contract, whose images must be described in the same way.
        root: data folder.
        cache: folder that keeps the slices for later runs; None keeps none.
        patterns: patterns of the training files, instead of the recipe's.

    Raises:
        MedscoreError: the recipe is invalid or of other images than the prior's, or the data cannot
            be loaded.
    """
    content = read_yaml(path)
    keys = content if isinstance(content, dict) else {}
    if "sources" in keys:
        recipe = read_recipe(path, NativeRecipe).model_copy(update={"plan": plan})
        _check(recipe.model_dump() | {"size": None}, body, path)
        recipe, found = load_native_data(recipe, path, root, patterns)
        return HeadImages(found.data, lambda objective: found.validator(recipe, objective))
    if "pictures" in keys:
        pictures = read_recipe(path, PictureRecipe, patterns=patterns)
        pictures = pictures.model_copy(update={"plan": plan})
        _check({"size": pictures.size, "quantity": pictures.quantity}, body, path)
        held_out = None
        if pictures.validation:
            held_out = pictures.load(pictures.validation, root).images[:VALIDATION_COUNT]
        data = pictures.data(path, pictures.load(pictures.pictures, root).images, held_out)
        return HeadImages(data, _validation(data, plan), pictures.bits)
    slices = read_recipe(path, PriorRecipe, patterns=patterns).model_copy(update={"plan": plan})
    _check(slices.model_dump(), body, path)
    _, data = load_slice_data(slices, path, root, cache)
    return HeadImages(data, _validation(data, plan), slices.bits)


def _validation(data: TrainingData, plan: TrainingPlan) -> Callable[[Loss[Any]], Validator | None]:
    """Makes the validation loss of an objective on images of one size."""
    images = data.validation
    if images is None:
        return lambda objective: None
    return lambda objective: Validation(images, objective, plan.batch)


def _check(images: dict[str, Any], body: DataContract, path: Path) -> None:
    """Refuse a recipe of other images than those of the prior."""
    for key in ("modality", "quantity", "low", "high", "size"):
        if key in images and images[key] != getattr(body, key):
            raise MedscoreError(
                f"{key} is {images[key]}, but {getattr(body, key)} in prior {body.name}",
                where=path,
                hint="set `images` to the recipe of that prior",
            )

"""Training a classifier of noisy images (Song et al. 2022, section 7.5)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from medscore.datasets.collections.pictures import Pictures
from medscore.errors import MedscoreError
from medscore.generation.classifier import (
    CLASSIFIER,
    ClassifierContract,
    ClassifierSpec,
    NoisyClassifier,
    cross_entropy,
    labelled,
)
from medscore.priors.catalogue import prior_path
from medscore.priors.checkpoint import read_checkpoint
from medscore.training.pictures import PictureData
from medscore.training.recipe import read_recipe
from medscore.training.run import TrainingRun


class ClassifierRecipe(PictureData):
    """The recipe of a classifier of noisy images; its images need labels.

    Attributes:
        classifies: name or path of the prior that the classifier is to guide; its images must be
            described as those of this recipe.
        classifier: parameters of the classifier.
    """

    classifies: str
    classifier: ClassifierSpec = ClassifierSpec()


def prepare_classifier(
    path: Path,
    root: Path,
    *,
    steps: int | None = None,
    cache: Path | None = None,
    patterns: Sequence[str] = (),
) -> TrainingRun[NoisyClassifier]:
    """Prepare the training of a classifier of noisy images.

    Args:
        path: file of the recipe.
        root: data folder.
        steps: number of training steps, instead of the recipe's.
        cache: not used; such images are read anew in every run.
        patterns: patterns of the training files, instead of the recipe's.

    Raises:
        MedscoreError: the recipe is invalid or contradicts the prior, the images cannot be loaded,
            or have fewer than two labels.
    """
    recipe = read_recipe(path, ClassifierRecipe, steps=steps, patterns=patterns)
    prior = read_checkpoint(prior_path(recipe.classifies)).contract
    if (prior.size, prior.quantity) != (recipe.size, recipe.quantity):
        raise MedscoreError(
            f"the images are {recipe.quantity} with side {recipe.size}, those of prior "
            f"{prior.name} are {prior.quantity} with side {prior.size}",
            where=path,
            hint="describe the images as the prior's recipe does",
        )
    pictures = recipe.load(recipe.pictures, root)
    classes = tuple(sorted(set(pictures.labels)))
    if len(classes) < 2:
        raise MedscoreError(
            f"all images have the same label {classes[0]!r}",
            where=path,
            hint="put each class in a folder of its own, or add `label` to the archive",
        )
    validation = None
    if recipe.validation:
        found = recipe.load(recipe.validation, root)
        validation = _with_labels(found, classes, path)
    data = recipe.data(path, _with_labels(pictures, classes, path), validation)
    contract = ClassifierContract(
        name=recipe.name,
        classes=classes,
        quantity=recipe.quantity,
        size=recipe.size,
        image_channels=recipe.channels,
        data_mean=prior.data_mean,
        data_std=prior.data_std,
        sde=prior.sde,
        spec=recipe.classifier,
        provenance=data.provenance,
    )
    torch.manual_seed(recipe.plan.seed)  # network initialisation takes no generator
    return TrainingRun(
        recipe=path,
        plan=recipe.plan,
        data=data,
        model=NoisyClassifier(contract),
        objective=cross_entropy,
        contract=contract,
        file=CLASSIFIER,
        describe=lambda: f"{len(pictures.images)} images in {len(classes)} classes",
    )


def _with_labels(pictures: Pictures, classes: tuple[str, ...], path: Path) -> Tensor:
    """Images with their labels as a further channel (:func:`labelled`)."""
    if unknown := set(pictures.labels) - set(classes):
        raise MedscoreError(
            f"the label {min(unknown)!r} occurs in validation but not in the training images",
            where=path,
            hint="use the same classes",
        )
    numbers = torch.tensor([classes.index(label) for label in pictures.labels])
    return labelled(pictures.images, numbers).contiguous()

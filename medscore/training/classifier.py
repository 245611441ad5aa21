"""Training a classifier of noisy pictures (Song 2022, section 6.5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from medscore.datasets.collections.pictures import Pictures
from medscore.errors import MedscoreError
from medscore.generation.classifier import (
    ClassifierContract,
    ClassifierSpec,
    NoisyClassifier,
    cross_entropy,
    labelled,
)
from medscore.io.specs import read_yaml, validated
from medscore.priors.checkpoint import read_checkpoint
from medscore.training.data import identity_of
from medscore.training.pictures import PictureData, provenance
from medscore.training.plan import TrainingPlan
from medscore.training.validation import Validation


class ClassifierRecipe(PictureData):
    """What the training configuration of a classifier of noisy pictures may say.

    Attributes:
        classifies: the prior that it shall guide, by name or path; its pictures are like these,
            which have labels. classifier: its sizes.
    """

    classifies: str
    classifier: ClassifierSpec = ClassifierSpec()


@dataclass(frozen=True)
class ClassifierRun:
    """As :class:`PictureRun`."""

    model: NoisyClassifier
    contract: ClassifierContract
    batch: Callable[[torch.Generator, slice], Tensor]
    plan: TrainingPlan
    validation: Validation | None
    identity: dict[str, str]


def prepare_classifier(
    path: Path,
    data_root: Path,
    *,
    steps: int | None = None,
    find_prior: Callable[[str], Path] = Path,
) -> ClassifierRun:
    """Load the recipe's pictures with their labels and build its untrained classifier.

    Raises:
        MedscoreError: what is wrong with the recipe, the prior or the pictures.
    """
    recipe: ClassifierRecipe = validated(ClassifierRecipe, read_yaml(path), path)
    plan = recipe.plan if steps is None else recipe.plan.shortened(steps)
    prior = read_checkpoint(find_prior(recipe.classifies)).contract
    quantity = "colour" if recipe.colour else "grey"
    if (prior.size, prior.quantity) != (recipe.size, quantity):
        raise MedscoreError(
            f"{quantity} pictures of side {recipe.size}, prior {prior.name} is of "
            f"{prior.quantity} ones of side {prior.size}",
            where=path, hint="describe the pictures as the prior's recipe does",
        )  # fmt: skip
    found = recipe.load(recipe.pictures, data_root)
    classes = tuple(sorted(set(found.labels)))
    if len(classes) < 2:
        raise MedscoreError(
            f"the pictures have but the label {classes[0]!r}", where=path,
            hint="put each class in a folder, or `label` in the archive",
        )  # fmt: skip
    contract = ClassifierContract(
        name=recipe.name, classes=classes, quantity=quantity, size=recipe.size,
        image_channels=recipe.channels, data_mean=prior.data_mean, data_std=prior.data_std,
        sde=prior.sde, spec=recipe.classifier,
        provenance=provenance(recipe, len(found.images), plan, path),
    )  # fmt: skip
    images = with_labels(found, classes, path)
    torch.manual_seed(plan.seed)  # network initialisation takes no generator
    validation = None
    if recipe.validation:
        few = recipe.load(recipe.validation, data_root)
        validation = Validation(with_labels(few, classes, path), cross_entropy, plan.batch)
    return ClassifierRun(
        NoisyClassifier(contract), contract, recipe.batch(images), plan, validation,
        identity_of(recipe, plan, images),
    )  # fmt: skip


def with_labels(found: Pictures, classes: tuple[str, ...], path: Path) -> Tensor:
    """:func:`~medscore.generation.classifier.labelled` pictures.

    Raises:
        MedscoreError: a label that is not among the classes; ``path`` is the recipe.
    """
    if strange := set(found.labels) - set(classes):
        raise MedscoreError(
            f"validation has the label {min(strange)!r}, the training pictures have not",
            where=path, hint="use the same classes",
        )  # fmt: skip
    numbers = torch.tensor([classes.index(label) for label in found.labels])
    return labelled(found.images, numbers).contiguous()

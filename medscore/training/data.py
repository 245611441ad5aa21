"""The images of a training run: batches, validation images, statistics and provenance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from medscore.datasets.selection import selection
from medscore.errors import MedscoreError
from medscore.io.identity import without_folder
from medscore.io.opening import file_sha256
from medscore.priors.contract import Provenance
from medscore.training.identity import identity_of
from medscore.training.loop import Batches
from medscore.training.recipe import ImageRecipe, TrainingRecipe
from medscore.training.split import divided, known_patients

if TYPE_CHECKING:
    from medscore.datasets.collections.slice_cache import Slices

VALIDATION_COUNT = 64
"""Largest number of validation slices that are used, equally spaced among all."""


@dataclass(frozen=True)
class TrainingData:
    """The images of a training run and what identifies them.

    Attributes:
        batch: draws the batch of a step.
        validation: validation images (n, channel, H, W) in the network's range; None if the recipe
            names none.
        provenance: the part of the trained file's header that describes data and training.
        identity: entries that a saved state must share with this run, by name.
    """

    batch: Batches
    validation: Tensor | None
    provenance: Provenance
    identity: dict[str, str]


def load_slice_data(
    recipe: ImageRecipe, path: Path, root: Path, cache: Path | None
) -> tuple[Slices, TrainingData]:
    """Load the slices of a recipe.

    Args:
        recipe: names the files and the augmentation.
        path: the file of the recipe.
        root: data folder.
        cache: folder that keeps the slices for later runs; None keeps none.

    Returns:
        The training slices at ``oversample`` times the size of the network's images, and the data
        made of them.

    Raises:
        MedscoreError: as :func:`~medscore.datasets.collections.slices.load_slices`, or a patient is
            among both the training and the validation slices.
    """
    slices = load_recipe_slices(recipe, recipe.data, root, cache, beside=recipe.validation)
    held_out: Slices | None = None
    if recipe.split is not None:
        slices, held_out = divided(slices, recipe.split)
        _refuse_empty(slices, held_out, path)
    elif recipe.validation:
        held_out = load_recipe_slices(recipe, recipe.validation, root, cache, beside=recipe.data)
        _refuse_shared(slices, held_out, path)
    data = TrainingData(
        batch=_augmented(recipe, slices.images),
        validation=None if held_out is None else _validation(recipe, held_out),
        provenance=provenance_of(
            recipe,
            path,
            recipe.data,
            patients=len(set(_patients(recipe, slices))),
            images=len(slices.images),
        ),
        identity=identity_of(recipe, slices.images),
    )
    return slices, data


def slice_summary(data: TrainingData) -> str:
    """The number of training slices and patients, in words; of images if there are no patients.

    Args:
        data: data of a run.
    """
    if not data.provenance.patients:
        return f"{data.provenance.slices} images"
    return f"{data.provenance.slices} slices of {data.provenance.patients} patients"


def reduced(images: Tensor, factor: int) -> Tensor:
    """Downsample slices by block means.

    Args:
        images: slices (n, H, W).
        factor: side of a block in pixels.

    Returns:
        Images (n, 1, H / factor, W / factor) in float32.
    """
    return functional.avg_pool2d(images[:, None].float(), factor)


def data_statistics(images: Tensor) -> tuple[float, float]:
    """The mean and standard deviation of all pixels, rounded to four decimals.

    Args:
        images: images in the network's range, of any shape.
    """
    values = images.double()
    mean = float(values.mean())
    std = float((values - mean).square().mean().sqrt())
    return round(mean, 4), round(std, 4)


def provenance_of(
    recipe: TrainingRecipe, path: Path, patterns: Sequence[str], *, patients: int, images: int
) -> Provenance:
    """The provenance of a network that is trained by a recipe.

    Args:
        recipe: the recipe.
        path: its file.
        patterns: patterns of the training files; absolute ones are recorded without folders.
        patients: number of patients.
        images: number of training images.
    """
    return Provenance(
        data=", ".join(without_folder(pattern) for pattern in patterns),
        patients=patients,
        slices=images,
        steps=recipe.plan.steps,
        seed=recipe.plan.seed,
        licence=recipe.licence,
        config_sha256=file_sha256(path),
    )


def _patients(recipe: ImageRecipe, slices: Slices) -> list[str]:
    from medscore.datasets.collections.patients import pseudonym

    if recipe.split is not None:
        return known_patients(slices)
    return [pseudonym(patient) for patient in slices.patients]


def load_recipe_slices(
    recipe: ImageRecipe,
    patterns: tuple[str, ...],
    root: Path,
    cache: Path | None = None,
    beside: tuple[str, ...] = (),
) -> Slices:
    """Load slices as a recipe describes them.

    Args:
        recipe: size, range and what is read of the files.
        patterns: patterns of the files.
        root: data folder.
        cache: folder that keeps the slices for later runs; None keeps none.
        beside: patterns of other files of the recipe, which tell patients apart.

    Raises:
        MedscoreError: as :func:`~medscore.datasets.collections.slices.load_slices`.
    """
    from medscore.datasets.collections.slices import load_slices

    return load_slices(
        patterns,
        root=root,
        side=recipe.oversample * recipe.size,
        low=recipe.low,
        high=recipe.high,
        quantity=recipe.quantity,
        chosen=selection(recipe.series, recipe.resample, recipe.channel, recipe.accept),
        cache=cache,
        beside=beside,
        skip=recipe.unusable == "skip",
    )


def _augmented(recipe: ImageRecipe, images: Tensor) -> Batches:
    from medscore.datasets.collections.augment import draw_batch

    def batch(generator: torch.Generator, part: slice) -> Tensor:
        return draw_batch(
            images,
            recipe.augmentation,
            generator,
            batch=recipe.plan.batch,
            part=part,
            oversample=recipe.oversample,
        )

    return batch


def _validation(recipe: ImageRecipe, found: Slices) -> Tensor:
    """At most ``VALIDATION_COUNT`` validation images (n, 1, size, size)."""
    count = min(VALIDATION_COUNT, len(found.images))
    chosen = np.linspace(0, len(found.images) - 1, count).round()
    return reduced(found.images[torch.from_numpy(chosen).long()], recipe.oversample)


def _refuse_empty(training: Slices, validation: Slices, path: Path) -> None:
    """Refuse a split with all patients on one side."""
    for part, name in ((training, "training"), (validation, "validation")):
        if not part.patients:
            raise MedscoreError(
                f"split leaves no patient for {name}",
                where=path,
                hint="change its share `training` or its `seed`, or add patients",
            )


def _refuse_shared(training: Slices, validation: Slices, path: Path) -> None:
    """Refuse a patient, or an equal slice, on both sides of the split."""
    from medscore.datasets.collections.patients import digest_of, pseudonym

    ours, theirs = ({pseudonym(p): p for p in s.patients} for s in (training, validation))
    if both := sorted(ours.keys() & theirs.keys(), key=lambda key: ours[key]):
        one, other = ours[both[0]], theirs[both[0]]
        raise MedscoreError(
            f"patient {one} is in data and in validation ({len(both)} are): in "
            f"{training.scan_of(one)} and {validation.scan_of(other)}",
            where=path,
            hint="split the data by patient",
        )
    first = {
        digest_of(image): patient
        for image, patient in zip(training.images, training.patients, strict=True)
    }
    for image, patient in zip(validation.images, validation.patients, strict=True):
        if (copied := first.get(digest_of(image))) is not None:
            raise MedscoreError(
                f"a slice of {training.scan_of(copied)} in data is equal to one of "
                f"{validation.scan_of(patient)} in validation",
                where=path,
                hint="split the data by patient: a copy under another name is the same patient",
            )

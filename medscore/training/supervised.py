"""Training a supervised comparator: the images that a prior learns from, measured in one way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from medscore.hounsfield import MU_WATER
from medscore.io.specs import read_yaml, validated
from medscore.measurements.measurement import ATTENUATION, HU
from medscore.measurements.spec import ScanSpec
from medscore.measurements.tasks import Scan
from medscore.measurements.units import NetworkUnits, brightness
from medscore.reconstruction.supervised.contract import SupervisedContract
from medscore.reconstruction.supervised.networks import ModelSpec, Reconstructor, plain
from medscore.training.data import augmented, held_out, identity_of, provenance_of, training_slices
from medscore.training.loop import Batches, Loss
from medscore.training.plan import TrainingPlan
from medscore.training.recipe import ImageRecipe
from medscore.training.validation import Validation


class SupervisedRecipe(ImageRecipe):
    """What a supervised network's training configuration may say.

    Attributes:
        scan: how the images are measured. spacing_mm: of their pixels then.
        model: what is trained.
    """

    spacing_mm: float
    scan: ScanSpec
    model: ModelSpec

    @property
    def scale(self) -> float:
        """``high`` less ``low``."""
        return self.high - self.low


def read_supervised(path: Path) -> SupervisedRecipe:
    """Read and validate a recipe.

    Raises:
        MedscoreError: as :func:`medscore.training.recipe.read_recipe`.
    """
    return validated(SupervisedRecipe, read_yaml(path), path)


@dataclass(frozen=True)
class SupervisedRun:
    """What :func:`medscore.training.loop.train` needs, and the contract of its outcome."""

    model: Reconstructor
    contract: SupervisedContract
    batch: Batches
    plan: TrainingPlan
    objective: Loss[Reconstructor]
    validation: Validation | None
    identity: dict[str, str]


def squared_error(recipe: SupervisedRecipe, scan: Scan) -> Loss[Reconstructor]:
    """The mean squared error of each sample, (batch,), measured afresh with noise seeded by u."""

    def loss(model: Reconstructor, x0: Tensor, u: Tensor, z: Tensor) -> Tensor:
        with torch.no_grad(), plain(x0):
            y, target = measured(recipe, scan, x0, u)
        error: Tensor = model(scan.operator, y) - target
        return error.square().flatten(1).mean(1)

    return loss


def measured(recipe: SupervisedRecipe, scan: Scan, x0: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Measurements of images in the network's range, in its units, and the images to be found:
    magnitudes in units of the brightness that their measurements show.

    Args:
        x0: (batch, 1, size, size). u: (batch,) in [0, 1), of which the noise is seeded.
    """
    values = recipe.low + recipe.scale * x0.float()
    seeds = (u.cpu().double() * 2**24).long().tolist()
    data = torch.cat(
        [
            scan.measure(image[None], torch.Generator().manual_seed(seed))
            for image, seed in zip(values, seeds, strict=True)
        ]
    )
    if recipe.modality == "MR":
        full = [brightness(scan.operator, y[None]) for y in data]
        units = NetworkUnits(0.0, torch.stack(full)[:, None, None, None] * recipe.scale)
        return units.measurements(scan.operator, data), values / units.of_slices(None, values)
    if scan.image_unit == ATTENUATION:
        units = NetworkUnits.of_attenuation(recipe, MU_WATER)
    else:
        assert scan.image_unit == HU
        units = NetworkUnits(recipe.low, recipe.scale)
    return units.measurements(scan.operator, data), x0.float()


def prepare_supervised(
    path: Path,
    recipe: SupervisedRecipe,
    scan: Scan,
    data_root: Path,
    *,
    plan: TrainingPlan,
    cache: Path | None = None,
) -> SupervisedRun:
    """Load the recipe's slices and build its untrained network, seeded by the plan.

    Args:
        path: of the recipe. scan: its scan, built.

    Raises:
        MedscoreError: as :func:`~medscore.datasets.collections.slices.load_slices`; patients that
        are in data
            and validation.
    """
    slices = training_slices(recipe, recipe.data, data_root, cache)
    objective = squared_error(recipe, scan)
    torch.manual_seed(plan.seed)  # network initialisation takes no generator
    model = recipe.model.build()
    few = held_out(path, recipe, slices, data_root, cache)
    contract = SupervisedContract(
        name=recipe.name,
        modality=recipe.modality,
        low=recipe.low,
        high=recipe.high,
        size=recipe.size,
        spacing_mm=recipe.spacing_mm,
        scan=recipe.scan,
        model=recipe.model,
        provenance=provenance_of(recipe, plan, slices, path),
    )
    return SupervisedRun(
        model,
        contract,
        augmented(recipe, plan, slices),
        plan,
        objective,
        None if few is None else Validation(few, objective, plan.batch),
        identity_of(recipe, plan, slices.images),
    )

"""Training a supervised network: images and their simulated measurements as pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.hounsfield import MU_WATER
from medscore.measurements.measurement import ATTENUATION, HU
from medscore.measurements.spec import ScanSpec
from medscore.measurements.tasks import Grid, Scan
from medscore.measurements.units import NetworkUnits
from medscore.operators.base import Operator
from medscore.operators.mri.fourier import Fourier
from medscore.operators.mri.multicoil import MulticoilFourier
from medscore.reconstruction.supervised.contract import SUPERVISED, SupervisedContract
from medscore.reconstruction.supervised.networks import (
    ModelSpec,
    Reconstructor,
    check_channels,
    plain,
)
from medscore.registry import scans
from medscore.training.data import load_slice_data, slice_summary
from medscore.training.loop import Loss
from medscore.training.recipe import ImageRecipe, read_recipe
from medscore.training.run import TrainingRun


class SupervisedRecipe(ImageRecipe):
    """The recipe of a supervised network.

    Attributes:
        spacing_mm: pixel size of the images in mm when they are measured.
        scan: the task: how the images are measured.
        model: architecture and parameters of the network.
    """

    spacing_mm: float
    scan: ScanSpec
    model: ModelSpec

    @property
    def scale(self) -> float:
        """Width of the value range that is mapped to [0, 1]."""
        return self.high - self.low


def prepare_supervised(
    path: Path,
    root: Path,
    *,
    steps: int | None = None,
    cache: Path | None = None,
    patterns: Sequence[str] = (),
) -> TrainingRun[Reconstructor]:
    """Prepare the training of a supervised network.

    Args:
        path: file of the recipe.
        root: data folder.
        steps: number of training steps, instead of the recipe's.
        cache: folder that keeps the slices for later runs; None keeps none.
        patterns: patterns of the training files, instead of the recipe's.

    Raises:
        MedscoreError: the recipe or its task is invalid, its network does not fit the images, the
            data cannot be loaded, or a patient is in both data and validation.
    """
    recipe = read_recipe(path, SupervisedRecipe, steps=steps, patterns=patterns)
    grid = Grid(recipe.size, recipe.size, recipe.spacing_mm, recipe.modality)
    scan = scans.build(recipe.scan, grid, path)
    try:
        check_channels(recipe.model, _of_complex(scan.operator), recipe.name)
    except MedscoreError as error:
        raise MedscoreError(error.what, where=path, hint=error.hint) from error
    _, data = load_slice_data(recipe, path, root, cache)
    torch.manual_seed(recipe.plan.seed)  # network initialisation takes no generator
    model = recipe.model.build()
    contract = SupervisedContract(
        name=recipe.name,
        modality=recipe.modality,
        low=recipe.low,
        high=recipe.high,
        size=recipe.size,
        spacing_mm=recipe.spacing_mm,
        scan=recipe.scan,
        model=recipe.model,
        provenance=data.provenance,
    )
    return TrainingRun(
        recipe=path,
        plan=recipe.plan,
        data=data,
        model=model,
        objective=squared_error(recipe, scan),
        contract=contract,
        file=SUPERVISED,
        describe=lambda: f"{slice_summary(data)}; {scan.operator}",
    )


def _of_complex(operator: Operator) -> bool:
    """True if an operator takes complex images."""
    return isinstance(operator, Fourier | MulticoilFourier)


def squared_error(recipe: SupervisedRecipe, scan: Scan) -> Loss[Reconstructor]:
    """The mean squared error of each sample; measurements are simulated with noise seeded by u.

    Args:
        recipe: describes the images.
        scan: the task.
    """

    def loss(model: Reconstructor, x0: Tensor, u: Tensor, z: Tensor) -> Tensor:
        with torch.no_grad(), plain(x0):
            operator, y, target = measured(recipe, scan, x0, u)
        error: Tensor = model(operator, y) - target
        return error.square().flatten(1).mean(1)

    return loss


def measured(
    recipe: SupervisedRecipe, scan: Scan, x0: Tensor, u: Tensor
) -> tuple[Operator, Tensor, Tensor]:
    """Simulate measurements of images.

    Magnitude images are in units of the brightness that is estimated from their measurements.

    Args:
        recipe: describes the images.
        scan: the task.
        x0: images (batch, 1, size, size) in the network's range.
        u: (batch,) in [0, 1), the seeds of the noise.

    Returns:
        The operator, the measurements in the network's units, and the images that are to be
        reconstructed.
    """
    values = recipe.low + recipe.scale * x0.float()
    seeds = (u.cpu().double() * 2**24).long().tolist()
    data = torch.cat(
        [
            scan.measure(image[None], torch.Generator().manual_seed(seed))
            for image, seed in zip(values, seeds, strict=True)
        ]
    )
    operator = scan.operator_of(data)
    if recipe.modality == "MR":
        units = NetworkUnits.of_magnitudes(recipe, operator, data)
        return operator, units.measurements(operator, data), values / units.of_slices(None, values)
    if scan.image_unit == ATTENUATION:
        units = NetworkUnits.of_attenuation(recipe, MU_WATER)
    else:
        assert scan.image_unit == HU
        units = NetworkUnits(recipe.low, recipe.scale)
    return operator, units.measurements(operator, data), x0.float()

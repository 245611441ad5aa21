"""The error bars of the default against those of a U-Net with Monte Carlo dropout.

The U-Net (configs/supervised) corrects filtered back-projections of the one measurement on which
both are judged. It is trained on the prior's training patients, and trained first if it is not in
--runs. Dropout stays in use, and eight outputs with different masks are its samples (Gal and
Ghahramani 2016). The slices are those of benchmarks/uncertainty_coverage.py, and the continuous
ranked probability score (CRPS) is the mean over the pixels of the body.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from number import Number
from torch import Tensor
from uncertainty_coverage import COMPARISONS, are_there, changed_config, errors
from uncertainty_settings import Settings

from medscore.evaluation import methods
from medscore.evaluation.comparison import cohort
from medscore.evaluation.config import read_evaluation
from medscore.measurements.measurement import Measurement
from medscore.nets.dropout import dropping
from medscore.operators.base import Operator
from medscore.reconstruction.result import Reconstruction, body_of_image
from medscore.reconstruction.supervised.method import Supervised, loaded
from medscore.training.jobs import train
from medscore.uncertainty.scores import crps

RECIPES = {"calibrate-ct": {"23 views": "ct-unet-23-dropout"}}
"""The recipe of the network for each family of a calibration that is compared."""

SAMPLES = 8


class Dropped(Supervised):
    """A supervised network with one set of dropout masks.

    Attributes:
        seed: seed of the masks.
    """

    seed: int

    def solve(self, operator: Operator, y: Tensor) -> Tensor:
        with dropping(loaded(self.network)[0], self.seed):
            return super().solve(operator, y)


@dataclass(frozen=True)
class Score:
    """The error bars of a method on a slice.

    Attributes:
        crps: mean fair CRPS of the pixels of the body.
        squared_error: mean squared error of the mean there.
    """

    crps: float
    squared_error: float


def numbers(settings: Settings) -> Iterator[Number]:
    """All numbers of this part; cohorts that are not in the data folder are left out.

    Args:
        settings: settings of the measurement.
    """
    for name, families in RECIPES.items():
        changes = COMPARISONS[name]
        if not are_there(name, settings, changes):
            continue
        ours = errors(name, settings, changes)
        for family, recipe in families.items():
            theirs = scores(name, settings, family, trained(recipe, settings))
            both = list(zip(ours[family], theirs, strict=True))
            title = f"{name.removeprefix('calibrate-')}, {family}"
            ratio = np.mean([a.crps.mean() / b.crps for a, b in both])
            gain = np.mean([10 * np.log10(b.squared_error / np.mean(a.error**2)) for a, b in both])
            yield Number(
                f"{title}: CRPS over that of Monte Carlo dropout", float(ratio), "", None, 1.0
            )
            yield Number(
                f"{title}: PSNR of the mean over that of Monte Carlo dropout", float(gain), "dB"
            )


def trained(recipe: str, settings: Settings) -> Path:
    """The trained network of a recipe; it is trained if its file does not exist.

    Args:
        recipe: name of the recipe.
        settings: settings of the measurement.
    """
    folder = settings.runs / recipe
    path = folder / f"{recipe}.safetensors"
    if not path.is_file():
        print(f"training {recipe} into {folder}")
        train(recipe, settings.data, output=folder)
    return path


def scores(name: str, settings: Settings, family: str, network: Path) -> list[Score]:
    """The scores of Monte Carlo dropout on the slices of a family.

    Args:
        name: name of the calibration.
        settings: settings of the measurement.
        family: name of the family.
        network: the trained network.
    """
    path = changed_config(name, settings, COMPARISONS[name])
    spec = read_evaluation(path)
    (task,) = (task for task in spec.tasks if task.name == family)
    found = []
    for number, case in enumerate(cohort(spec.cohort, settings.data, spec.tasks)):
        seed = number + spec.seed * 1_000_003  # the same noise as in the cells of the default
        image = sampled(methods.measure(case, task, seed, path), network)
        truth, body = case.volume.values, body_of_image(image)
        drawn = np.moveaxis(image.samples, 1, 0)
        found.append(
            Score(
                crps=float(crps(truth[body], drawn[:, body]).mean()),
                squared_error=float(np.mean((truth - image.mean)[body] ** 2)),
            )
        )
    return found


def sampled(measurement: Measurement, network: Path) -> Reconstruction:
    """Outputs of a network with different dropout masks, as the samples of a reconstruction.

    Args:
        measurement: the data of one slice.
        network: the trained network.
    """
    drawn = [Dropped(network=network, seed=s).reconstruct(measurement) for s in range(SAMPLES)]
    return replace(drawn[0], samples=np.concatenate([each.samples for each in drawn], 1))

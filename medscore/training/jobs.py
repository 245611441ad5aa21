"""Training jobs: from a recipe and a data folder to what the training loop needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from torch import nn

from medscore.measurements.tasks import Grid
from medscore.priors.catalogue import prior_path
from medscore.priors.checkpoint import save_prior
from medscore.registry import scans

if TYPE_CHECKING:
    from medscore.generation.classifier import NoisyClassifier
    from medscore.likelihood.dequantization import DequantizationFlow
    from medscore.priors.network import NetworkPrior
    from medscore.reconstruction.supervised.networks import Reconstructor
    from medscore.training.loop import Batches, Hooks, Loss
    from medscore.training.plan import TrainingPlan


Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class TrainingJob(Generic[Model]):
    """What is trained, on what, and what is said and kept of it."""

    name: str
    model: Model
    batch: Batches
    loss: Loss[Model]
    plan: TrainingPlan
    hooks: Hooks[Model]
    save: Callable[[Path], None]
    remark: Callable[[], str]


def _prior(
    recipe: Path, data: Path, output: Path, steps: int | None, cache: Path | None
) -> TrainingJob[NetworkPrior]:
    from medscore.training.loop import Hooks
    from medscore.training.prior import prepare
    from medscore.training.validation import draw_samples

    job = prepare(recipe, data, steps=steps, find_prior=prior_path, cache=cache)
    size, learnt = job.contract.size, job.contract.provenance
    return TrainingJob(
        job.contract.name,
        job.prior,
        job.batch,
        job.objective,
        job.plan,
        Hooks(
            validation=job.validation,
            samples=lambda prior, step: draw_samples(
                prior, (1, size, size), _picture(output, step)
            ),
            identity=job.identity,
        ),
        lambda path: save_prior(path, job.contract, job.prior.network.state_dict()),
        lambda: (
            f"{learnt.slices} slices of {learnt.patients} patients; the largest distance between "
            f"two of them is {job.largest_distance():.1f} (Technique 1: a good sigma_max)"
        ),
    )


def _supervised(
    recipe: Path, data: Path, output: Path, steps: int | None, cache: Path | None
) -> TrainingJob[Reconstructor]:
    return supervised_job(recipe, data, steps, cache)


def _dequantizer(
    recipe: Path, data: Path, output: Path, steps: int | None, cache: Path | None
) -> TrainingJob[DequantizationFlow]:
    from medscore.likelihood.dequantizer import save_dequantizer
    from medscore.training.dequantizer import prepare_dequantizer
    from medscore.training.loop import Hooks

    job = prepare_dequantizer(recipe, data, steps=steps, find_prior=prior_path, cache=cache)
    learnt = job.contract.provenance
    return TrainingJob(
        job.contract.name,
        job.model,
        job.batch,
        job.objective,
        job.plan,
        Hooks(validation=job.validation, identity=job.identity),
        lambda path: save_dequantizer(path, job.contract, job.model.network.state_dict()),
        lambda: f"{learnt.slices} slices of {learnt.patients} patients; {job.contract.prior}",
    )


def _pictures(
    recipe: Path, data: Path, output: Path, steps: int | None, cache: Path | None
) -> TrainingJob[NetworkPrior]:
    from medscore.training.loop import Hooks
    from medscore.training.pictures import prepare_pictures
    from medscore.training.validation import draw_samples

    job = prepare_pictures(recipe, data, steps=steps)
    contract = job.contract
    shape = (contract.channels, contract.size, contract.size)
    return TrainingJob(
        contract.name,
        job.prior,
        job.batch,
        job.objective,
        job.plan,
        Hooks(
            validation=job.validation,
            samples=lambda prior, step: draw_samples(prior, shape, _picture(output, step)),
            identity=job.identity,
        ),
        lambda path: save_prior(path, contract, job.prior.network.state_dict()),
        lambda: f"{contract.provenance.slices} pictures",
    )


def _classifier(
    recipe: Path, data: Path, output: Path, steps: int | None, cache: Path | None
) -> TrainingJob[NoisyClassifier]:
    from medscore.generation.classifier import cross_entropy, save_classifier
    from medscore.training.classifier import prepare_classifier
    from medscore.training.loop import Hooks

    job = prepare_classifier(recipe, data, steps=steps, find_prior=prior_path)
    contract = job.contract
    return TrainingJob(
        contract.name,
        job.model,
        job.batch,
        cross_entropy,
        job.plan,
        Hooks(validation=job.validation, identity=job.identity),
        lambda path: save_classifier(path, contract, job.model.network.state_dict()),
        lambda: f"{contract.provenance.slices} pictures of {len(contract.classes)} classes",
    )


PREPARED: dict[str, Callable[..., TrainingJob[Any]]] = {
    "scan": _supervised, "dequantizes": _dequantizer, "classifies": _classifier,
    "pictures": _pictures,
}  # fmt: skip
"""By the key of a recipe that tells what it is of; a medical prior without any of them."""


def supervised_job(
    recipe: Path, data: Path, steps: int | None = None, cache: Path | None = None
) -> TrainingJob[Reconstructor]:
    """The training of a supervised recipe.

    Raises:
        MedscoreError: what is wrong with the recipe or the data.
    """
    from medscore.reconstruction.supervised.contract import save_reconstructor
    from medscore.training.loop import Hooks
    from medscore.training.supervised import prepare_supervised, read_supervised

    asked = read_supervised(recipe)
    scan = scans.build(
        asked.scan, Grid(asked.size, asked.size, asked.spacing_mm, asked.modality), recipe
    )
    plan = asked.plan if steps is None else asked.plan.shortened(steps)
    job = prepare_supervised(recipe, asked, scan, data, plan=plan, cache=cache)
    learnt = job.contract.provenance
    return TrainingJob(
        job.contract.name,
        job.model,
        job.batch,
        job.objective,
        job.plan,
        Hooks(validation=job.validation, identity=job.identity),
        lambda path: save_reconstructor(path, job.contract, job.model.network.state_dict()),
        lambda: f"{learnt.slices} slices of {learnt.patients} patients; {scan.operator}",
    )


def _picture(output: Path, step: int) -> Path:
    return output / "samples" / f"{step:07d}.png"

"""``medscore train``: a recipe and a data folder in; a prior, or a supervised network, out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import typer
from rich.markup import escape
from torch import nn

from medscore.priors.checkpoint import save_prior
from medscore.cli import options
from medscore.registry import names as registry
from medscore.registry import scans
from medscore.cli.options import config_path
from medscore.cli.progress import console, training_bar
from medscore.errors import MedscoreError
from medscore.io.specs import read_yaml
from medscore.measurements.tasks import Grid

if TYPE_CHECKING:  # slow to import
    from medscore.generation.classifier import NoisyClassifier
    from medscore.likelihood.dequantization import DequantizationFlow
    from medscore.priors.network import NetworkPrior
    from medscore.reconstruction.supervised.networks import Reconstructor
    from medscore.training.loop import Batches, Hooks, Loss
    from medscore.training.plan import TrainingPlan

Model = TypeVar("Model", bound=nn.Module)


def train(
    recipe: Annotated[
        Path, typer.Argument(help="Training configuration: a YAML file, or a shipped one's name.")
    ],
    data: Annotated[Path, typer.Option(help="Folder the recipe's data lie in.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for state and prior.")],
    steps: Annotated[
        int | None, typer.Option(help="Train this many steps instead of the recipe's.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder that keeps the slices that were read.")
    ] = None,
    device: options.Device = "cpu",
    devices: Annotated[
        int, typer.Option(help="Processes on this machine, a GPU each; torchrun overrules it.")
    ] = 1,
) -> None:
    """Train a score prior; repeat the same command to go on after an interruption.

    Writes state.safetensors, loss.jsonl, tensorboard/, samples/ and, at the end,
    NAME.safetensors. Several machines: torchrun ... -m medscore train ...

    Example: medscore train ct-128 --data DATA -o runs/ct-128

    A recipe with a scan trains a network on pairs of measurements and images instead, to compare
    with what the prior does without such pairs.

    Example: medscore train ct-unet-23 --data DATA -o runs/ct-unet-23

    One with `dequantizes` trains the noise within grey levels for `medscore likelihood`.

    Example: medscore train dequantizer-ct-128-vp --data DATA -o runs/dequantizer
    """
    for name, value in (("--steps", steps), ("--devices", devices)):
        if value is not None and value < 1:
            raise MedscoreError(f"{name} is {value}", mend="use 1 or more")
    recipe = config_path(recipe, "train", "supervised")
    content = read_yaml(recipe)
    keys = content if isinstance(content, dict) else {}
    chosen = registry.device(device)
    prepare = next((made for key, made in PREPARED.items() if key in keys), _prior)
    job = prepare(recipe, data, output, steps, cache)
    train_job(job, recipe, output, device=chosen, devices=devices)


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


def train_job(
    job: TrainingJob[Any], recipe: Path, output: Path, *, device: str = "cpu", devices: int = 1
) -> None:
    """Train, and write NAME.safetensors into ``output`` at the end; resumes what it finds there.

    Raises:
        MedscoreError: as :func:`medscore.training.loop.train`.
    """
    from medscore.training.launch import processes
    from medscore.training.loop import train as run_training

    with ExitStack() as stack:
        engine = stack.enter_context(processes(device, devices))
        leads = engine.is_global_zero
        _make(output, recipe)
        reports = run_training(
            job.model, job.batch, job.loss, job.plan, output, hooks=job.hooks, fabric=engine
        )
        if leads:
            console.print(job.remark())
            show = stack.enter_context(training_bar(job.name, job.plan.steps))
        for report in reports:
            if leads:
                show(report.step, report.loss)
                if report.warning:
                    console.print(f"warning: {report.warning}")
        if leads:
            path = output / f"{job.name}.safetensors"
            job.save(path)
    if leads:
        console.print(f"{escape(str(path))}: trained {job.plan.steps} steps")


def _prior(
    recipe: Path, data: Path, output: Path, steps: int | None, cache: Path | None
) -> TrainingJob[NetworkPrior]:
    from medscore.training.loop import Hooks
    from medscore.training.prior import prepare
    from medscore.training.validation import draw_samples

    job = prepare(recipe, data, steps=steps, find_prior=registry.prior_path, cache=cache)
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

    job = prepare_dequantizer(
        recipe, data, steps=steps, find_prior=registry.prior_path, cache=cache
    )
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
    from medscore.training.pictures import prepare_pictures
    from medscore.training.loop import Hooks
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
    from medscore.training.pictures import prepare_classifier
    from medscore.training.loop import Hooks

    job = prepare_classifier(recipe, data, steps=steps, find_prior=registry.prior_path)
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
    from medscore.training.supervised import prepare_supervised, read_supervised
    from medscore.training.loop import Hooks

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


def _make(output: Path, recipe: Path) -> None:
    """The output folder, with the recipe in it."""
    try:
        (output / "samples").mkdir(parents=True, exist_ok=True)
        with suppress(shutil.SameFileError):
            shutil.copyfile(recipe, output / "recipe.yaml")
    except OSError as error:
        raise MedscoreError(
            f"cannot be written ({error.strerror})", where=output, mend="choose another folder"
        ) from error


def _picture(output: Path, step: int) -> Path:
    return output / "samples" / f"{step:07d}.png"

"""``medscore train``: a recipe and a data folder in; a prior, or a supervised network, out."""

from __future__ import annotations

import shutil
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from medscore.cli import options
from medscore.cli.progress import console, training_bar
from medscore.errors import MedscoreError
from medscore.io.files import config_path
from medscore.io.specs import read_yaml
from medscore.registry.checks import resolve_device
from medscore.training.jobs import PREPARED, TrainingJob, _prior

if TYPE_CHECKING:  # slow to import
    pass


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
            raise MedscoreError(f"{name} is {value}", hint="use 1 or more")
    recipe = config_path(recipe, "train", "supervised")
    content = read_yaml(recipe)
    keys = content if isinstance(content, dict) else {}
    chosen = resolve_device(device)
    prepare = next((made for key, made in PREPARED.items() if key in keys), _prior)
    job = prepare(recipe, data, output, steps, cache)
    train_job(job, recipe, output, device=chosen, devices=devices)


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


def _make(output: Path, recipe: Path) -> None:
    """The output folder, with the recipe in it."""
    try:
        (output / "samples").mkdir(parents=True, exist_ok=True)
        with suppress(shutil.SameFileError):
            shutil.copyfile(recipe, output / "recipe.yaml")
    except OSError as error:
        raise MedscoreError(
            f"cannot be written ({error.strerror})", where=output, hint="choose another folder"
        ) from error


def train_network(recipe: Path, data: Path, folder: Path) -> None:
    """Train a supervised recipe with a progress bar.

    Args:
        recipe: the recipe.
        data: folder of the data.
        folder: where state and network go.
    """
    from medscore.training.jobs import supervised_job

    train_job(supervised_job(recipe, data), recipe, folder)

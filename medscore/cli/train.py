"""``medscore train``: a recipe and a data folder in, a prior out."""

from __future__ import annotations

import shutil
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from medscore.checkpoint import save_prior
from medscore.cli import registry
from medscore.cli.progress import console, training_bar
from medscore.errors import MedscoreError


def train(
    recipe: Annotated[Path, typer.Argument(help="Training configuration (YAML).")],
    data: Annotated[Path, typer.Option(help="Folder the recipe's data lie in.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for state and prior.")],
    steps: Annotated[
        int | None, typer.Option(help="Train this many steps instead of the recipe's.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder that keeps the slices that were read.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "cpu",
    devices: Annotated[
        int, typer.Option(help="Processes on this machine, a GPU each; torchrun overrules it.")
    ] = 1,
) -> None:
    """Train a score prior; repeat the same command to go on after an interruption.

    Writes state.safetensors, loss.jsonl, tensorboard/, samples/ and, at the end,
    NAME.safetensors. Several machines: torchrun ... -m medscore train ...

    Example: medscore train configs/train/ct-128.yaml --data DATA -o runs/ct-128
    """
    from medscore.training.launch import processes
    from medscore.training.loop import Hooks
    from medscore.training.loop import train as run_training
    from medscore.training.prepare import prepare
    from medscore.training.validation import draw_samples

    for name, value in (("--steps", steps), ("--devices", devices)):
        if value is not None and value < 1:
            raise MedscoreError(f"{name} is {value}", mend="use 1 or more")
    job = prepare(recipe, data, steps=steps, find_prior=registry.prior_path, cache=cache)
    with ExitStack() as stack:
        engine = stack.enter_context(processes(registry.device(device), devices))
        leads = engine.is_global_zero
        _make(output, recipe)
        reports = run_training(
            job.prior,
            job.batch,
            job.objective,
            job.plan,
            output,
            hooks=Hooks(
                validation=job.validation,
                samples=lambda prior, step: draw_samples(
                    prior, (1, job.contract.size, job.contract.size), _picture(output, step)
                ),
                identity=job.identity,
            ),
            fabric=engine,
        )
        if leads:
            from_whom = job.contract.provenance
            console.print(
                f"{from_whom.slices} slices of {from_whom.patients} patients; the largest distance "
                f"between two of them is {job.largest_distance():.1f} (Technique 1: a good "
                "sigma_max)"
            )
            show = stack.enter_context(training_bar(job.contract.name, job.plan.steps))
        for report in reports:
            if leads:
                show(report.step, report.loss)
                if report.warning:
                    console.print(f"warning: {report.warning}")
        if leads:
            path = output / f"{job.contract.name}.safetensors"
            save_prior(path, job.contract, job.prior.network.state_dict())
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
            f"cannot be written ({error.strerror})", where=output, mend="choose another folder"
        ) from error


def _picture(output: Path, step: int) -> Path:
    return output / "samples" / f"{step:07d}.png"

"""``medscore train``: a recipe and a data folder in, a prior out."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from medscore.checkpoint import save_prior
from medscore.cli import registry
from medscore.cli.progress import console, training_bar
from medscore.errors import MedscoreError
from medscore.recipe import prepare
from medscore.training import train as run_training


def train(
    recipe: Annotated[Path, typer.Argument(help="Training configuration (YAML).")],
    data: Annotated[Path, typer.Option(help="Folder the recipe's data lie in.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for state and prior.")],
    steps: Annotated[
        int | None, typer.Option(help="Train this many steps instead of the recipe's.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "cpu",
) -> None:
    """Train a score prior; repeat the same command to go on after an interruption.

    Writes state.safetensors, loss.jsonl and, at the end, NAME.safetensors.

    Example: medscore train configs/train/ct-128.yaml --data DATA -o runs/ct-128
    """
    if steps is not None and steps < 1:
        raise MedscoreError(f"--steps is {steps}", mend="use 1 or more")
    job = prepare(recipe, data, device=registry.device(device), steps=steps)
    try:
        output.mkdir(parents=True, exist_ok=True)
        with suppress(shutil.SameFileError):
            shutil.copyfile(recipe, output / "recipe.yaml")
    except OSError as error:
        raise MedscoreError(
            f"cannot be written ({error.strerror})", where=output, mend="choose another folder"
        ) from error
    from_whom = job.contract.provenance
    console.print(
        f"{from_whom.slices} slices of {from_whom.patients} patients; the largest distance between "
        f"two of them is {job.largest_distance():.1f} (Technique 1: a good sigma_max)"
    )
    with training_bar(job.contract.name, job.plan.steps) as show:
        for report in run_training(job.prior, job.batch, job.plan, output):
            show(report.step, report.loss)
    path = output / f"{job.contract.name}.safetensors"
    save_prior(path, job.contract, job.prior.network.state_dict())
    console.print(f"{escape(str(path))}: trained {job.plan.steps} steps")

"""``medscore train``: a recipe and a data folder in, a trained network out."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from medscore.cli import options
from medscore.cli.progress import console, training_bar
from medscore.errors import MedscoreError

if TYPE_CHECKING:
    from medscore.training import StepReport, TrainingResult, TrainingRun


def train(
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="Output folder, new or of a run to resume; with --init the recipe to write.",
        ),
    ],
    recipe: Annotated[
        Path | None, typer.Argument(help="Recipe: a YAML file, or the name of a shipped one.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Data folder; the recipe's patterns are below it. Default: the recipe's folder."
        ),
    ] = None,
    pattern: options.Pattern = None,
    init: Annotated[
        Path | None,
        typer.Option(help="Folder of images: write a recipe that trains on them, and stop."),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(help="With --init: side of the images in pixels. Default: up to 128."),
    ] = None,
    modality: Annotated[
        str | None, typer.Option(help="With --init: CT or MR, if the folder holds both.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="With --init: seed of the split by patient. Default: 0.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Number of training steps, instead of the recipe's.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder that keeps the loaded slices for later runs.")
    ] = None,
    device: options.Device = "cpu",
    devices: Annotated[
        int,
        typer.Option(help="Processes on this machine, one for each GPU; ignored under torchrun."),
    ] = 1,
) -> None:
    """Train a score prior; the same command resumes after an interruption.

    Your own data: --init looks at a folder of images and writes a recipe that trains as it is.

    Example: medscore train --init DATA -o mine.yaml

    Example: medscore train mine.yaml -o runs/mine

    Writes state.safetensors, loss.jsonl, tensorboard/, samples/ and, at the end,
    NAME.safetensors. On several machines use torchrun ... -m medscore train ...

    Example: medscore train ct-128 --data DATA -o runs/ct-128

    A recipe with `scan` trains a supervised network on pairs of measurements and images, for
    comparison with the priors.

    Example: medscore train ct-unet-23 --data DATA -o runs/ct-unet-23

    A recipe with `head` trains the learned covariance of a prior, whose network stays as it is.

    Example: medscore train ct-128-covariance --data DATA -o runs/ct-128-covariance

    A recipe with `volumes` trains a network beside a prior that improves denoised slices by their
    neighbours, for `recon --across-slices 2.5d`.

    Example: medscore train ct-neighbours --data DATA -o runs/ct-neighbours

    A recipe with `dequantizes` trains a dequantization flow for `medscore likelihood`.

    Example: medscore train dequantizer-ct-128-vp --data DATA -o runs/dequantizer
    """
    from medscore import training

    if init is not None:
        _refuse("init", recipe=recipe, data=data, steps=steps, cache=cache)
        made = training.init_recipe(
            init, output, size=size, modality=modality, patterns=pattern or (), seed=seed or 0
        )
        console.print(f"{escape(str(made.path))}: {escape(made.remark)}")
        return
    if recipe is None:
        raise MedscoreError(
            "no recipe is given", hint="name a recipe, or write one with `init` FOLDER"
        )
    for name, value in (("size", size), ("modality", modality), ("seed", seed)):
        if value is not None:
            raise MedscoreError(f"`{name}` applies to `init`", hint="change it in the recipe")
    with ExitStack() as stack:
        view = TrainingView(stack)
        result = training.train(
            recipe,
            data,
            output=output,
            steps=steps,
            cache=cache,
            patterns=pattern or (),
            device=device,
            devices=devices,
            on_start=view.start,
            on_step=view.step,
        )
    print_result(result)


def _refuse(owner: str, **given: object) -> None:
    """Refuse options that mean nothing beside another one."""
    for name, value in given.items():
        if value is not None:
            raise MedscoreError(
                f"`{name}` means nothing beside `{owner}`", hint="leave one of them out"
            )


class TrainingView:
    """Shows a training run on the console: its remark, a progress bar and warnings.

    Args:
        stack: closes the progress bar.
    """

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack

    def start(self, run: TrainingRun[Any]) -> None:
        """Show the remark and open the bar.

        Args:
            run: the prepared run.
        """
        console.print(escape(run.remark))
        bar = training_bar(run.contract.name, run.plan.steps)
        self.show = self.stack.enter_context(bar)

    def step(self, report: StepReport) -> None:
        """Move the bar on and show a warning.

        Args:
            report: the finished step.
        """
        self.show(report.step, report.loss)
        if report.warning:
            console.print(f"warning: {escape(report.warning)}")


def print_result(result: TrainingResult) -> None:
    """Print the path of the trained network, in the first process only.

    Args:
        result: outcome of the run.
    """
    if result.is_first:
        console.print(f"{escape(str(result.path))}: trained {result.steps} steps")


def train_network(recipe: Path, data: Path, folder: Path) -> None:
    """Train a supervised recipe with a progress bar.

    Args:
        recipe: the recipe.
        data: folder of the data.
        folder: folder for state and network.
    """
    from medscore.training.run import execute
    from medscore.training.supervised import prepare_supervised

    with ExitStack() as stack:
        view = TrainingView(stack)
        run = prepare_supervised(recipe, data)
        result = execute(run, folder, on_start=view.start, on_step=view.step)
    print_result(result)

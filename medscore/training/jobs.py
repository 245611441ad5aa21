"""From a recipe and a data folder to a trained network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from medscore.errors import MedscoreError
from medscore.io.configs import config_path
from medscore.io.yaml_files import read_yaml
from medscore.registry.checks import resolve_device
from medscore.training.classifier import prepare_classifier
from medscore.training.dequantizer import prepare_dequantizer
from medscore.training.head import prepare_head
from medscore.training.monitor import StepReport
from medscore.training.native import prepare_native
from medscore.training.neighbours import prepare_neighbours
from medscore.training.pictures import prepare_pictures
from medscore.training.prior import prepare_prior
from medscore.training.run import TrainingResult, TrainingRun, execute
from medscore.training.supervised import prepare_supervised


@runtime_checkable
class Preparation(Protocol):
    """Prepares the training run of one kind of recipe."""

    def __call__(
        self,
        path: Path,
        root: Path,
        *,
        steps: int | None = None,
        cache: Path | None = None,
        patterns: Sequence[str] = (),
    ) -> TrainingRun[Any]:
        """Prepare a run.

        Args:
            path: file of the recipe.
            root: data folder.
            steps: number of training steps, instead of the recipe's.
            cache: folder that keeps the slices for later runs; None keeps none.
            patterns: patterns of the training files, instead of the recipe's.
        """


KINDS: dict[str, Preparation] = {
    "scan": prepare_supervised,
    "dequantizes": prepare_dequantizer,
    "classifies": prepare_classifier,
    "pictures": prepare_pictures,
    "sources": prepare_native,
    "head": prepare_head,
    "volumes": prepare_neighbours,
}
"""Kinds of recipes by a key that only this kind has; a recipe with none of them is a prior's."""


def prepare(
    recipe: str | Path,
    data: str | Path | None = None,
    *,
    steps: int | None = None,
    cache: str | Path | None = None,
    patterns: Sequence[str] = (),
) -> TrainingRun[Any]:
    """Prepare the training run of any recipe.

    Args:
        recipe: YAML file, or the name of a shipped recipe.
        data: folder that the recipe's patterns are relative to; by default its ``folder``.
        steps: number of training steps, instead of the recipe's.
        cache: folder that keeps the slices for later runs; None keeps none.
        patterns: patterns of the training files, instead of the recipe's; its validation files
            are then not used.

    Raises:
        MedscoreError: the recipe is invalid, or its data cannot be loaded.
    """
    path = config_path(recipe, "train", "supervised")
    content = read_yaml(path)
    keys = content if isinstance(content, dict) else {}
    kind = next((made for key, made in KINDS.items() if key in keys), prepare_prior)
    root = _folder(keys, path) if data is None else Path(data)
    kept = None if cache is None else Path(cache)
    return kind(path, root, steps=steps, cache=kept, patterns=tuple(patterns))


def _folder(recipe: dict[str, Any], path: Path) -> Path:
    """The data folder that a recipe states."""
    folder = recipe.get("folder")
    if not isinstance(folder, str):
        raise MedscoreError(
            "`data` is missing: the recipe states no data folder", where=path,
            hint="give `data`, or set folder in the recipe",
        )  # fmt: skip
    return path.parent / folder


def train(
    recipe: str | Path,
    data: str | Path | None = None,
    *,
    output: str | Path,
    steps: int | None = None,
    cache: str | Path | None = None,
    patterns: Sequence[str] = (),
    device: str = "cpu",
    devices: int = 1,
    on_start: Callable[[TrainingRun[Any]], None] | None = None,
    on_step: Callable[[StepReport], None] | None = None,
) -> TrainingResult:
    """Train the network of a recipe, or resume its training.

    The output folder receives ``NAME.safetensors`` at the end, and during the training
    ``state.safetensors``, from which the same call resumes, ``loss.jsonl``, ``tensorboard/``,
    ``samples/`` and ``recipe.yaml``.

    Args:
        recipe: YAML file, or the name of a shipped recipe.
        data: folder that the recipe's patterns are relative to; by default its ``folder``.
        output: output folder, made if it does not exist.
        steps: number of training steps, instead of the recipe's.
        cache: folder that keeps the slices for later runs; None keeps none.
        patterns: patterns of the training files, instead of the recipe's; its validation files
            are then not used.
        device: ``auto``, ``cpu`` or ``cuda``.
        devices: number of processes on this machine, on CUDA one for each GPU. With more than one,
            the running script is started again in each of them.
        on_start: is called with the prepared run before the first step, in the first process only.
        on_step: is called after every step, in the first process only.

    Raises:
        MedscoreError: a parameter or the recipe is invalid, the data cannot be loaded, the output
            folder cannot be written or holds another run, or the loss is not finite.
    """
    for name, value in (("steps", steps), ("devices", devices)):
        if value is not None and value < 1:
            raise MedscoreError(f"`{name}` is {value}", hint="use 1 or more")
    chosen = resolve_device(device)
    run = prepare(recipe, data, steps=steps, cache=cache, patterns=patterns)
    return execute(
        run, Path(output), device=chosen, devices=devices, on_start=on_start, on_step=on_step
    )

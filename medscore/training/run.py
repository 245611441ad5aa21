"""One training run of any kind: its model and data, and its execution in an output folder."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Protocol, runtime_checkable

from torch import nn

from medscore.engine.launch import processes
from medscore.errors import MedscoreError, WriteError
from medscore.io.files import atomic_write, working_folder
from medscore.io.identity import without_folders
from medscore.io.weights import WeightsFile
from medscore.training.data import TrainingData
from medscore.training.loop import Hooks, Loss, Model, train_steps
from medscore.training.monitor import StepReport
from medscore.training.plan import TrainingPlan
from medscore.training.validation import Validation

log = logging.getLogger(__name__)


@runtime_checkable
class NamedContract(Protocol):
    """Header of a weights file, which has the name of the network."""

    @property
    def name(self) -> str:
        """Name of the network."""


@dataclass(frozen=True)
class TrainingRun(Generic[Model]):
    """A model, its training data and objective, and the file that it is saved in.

    Attributes:
        recipe: file of the recipe.
        plan: the numbers of the run.
        data: the training and validation images.
        model: the untrained model; its ``network`` is trained.
        objective: the loss of each sample.
        contract: header of the file that the network is saved in.
        file: kind of that file.
        describe: makes a line of text about the run, see ``remark``.
        samples: writes an image of samples of a model to a path; None if it cannot be sampled.
        identity: entries that a saved state must share with this run, beside those of the data.
        validator: the validation loss of a model; by default that of the validation images.
    """

    recipe: Path
    plan: TrainingPlan
    data: TrainingData
    model: Model
    objective: Loss[Model]
    contract: NamedContract
    file: WeightsFile[Any]
    describe: Callable[[], str]
    samples: Callable[[Model, Path], None] | None = None
    identity: dict[str, str] = field(default_factory=dict)
    validator: Callable[[Model], float] | None = None

    @cached_property
    def remark(self) -> str:
        """Description of the data and, for a prior, a suitable sigma_max."""
        return self.describe()

    @property
    def validation(self) -> Callable[[Model], float] | None:
        """The validation loss, if there are validation images."""
        if self.validator is not None or self.data.validation is None:
            return self.validator
        return Validation(self.data.validation, self.objective, self.plan.batch)

    def hooks(self, output: Path) -> Hooks[Model]:
        """Validation, samples and identity of the run.

        Args:
            output: output folder; samples are written to its subfolder ``samples``.
        """
        draw = self.samples
        return Hooks(
            validation=self.validation,
            samples=(
                None
                if draw is None
                else lambda model, step: draw(model, output / "samples" / f"{step:07d}.png")
            ),
            identity={**self.data.identity, **self.identity},
        )

    def save(self, path: Path) -> None:
        """Write the network with its contract.

        Args:
            path: file to write.
        """
        network = self.model.network
        assert isinstance(network, nn.Module)
        self.file.save(path, self.contract, network.state_dict())


@dataclass(frozen=True)
class TrainingResult:
    """The outcome of a training run.

    Attributes:
        path: the file of the trained network.
        model: the trained model, with averaged weights.
        steps: number of training steps, including those before a resumption.
        remark: description of the data and, for a prior, a suitable sigma_max; empty in processes
            other than the first.
        warnings: the warnings of the steps since the last start.
        is_first: whether this is the first of several processes, which alone writes files and
            reports steps.
    """

    path: Path
    model: nn.Module
    steps: int
    remark: str
    warnings: tuple[str, ...]
    is_first: bool


def execute(
    run: TrainingRun[Any],
    output: Path,
    *,
    device: str = "cpu",
    devices: int = 1,
    on_start: Callable[[TrainingRun[Any]], None] | None = None,
    on_step: Callable[[StepReport], None] | None = None,
) -> TrainingResult:
    """Train, and write ``NAME.safetensors`` at the end; resumes a run found in the output folder.

    Args:
        run: the run.
        output: output folder, made if it does not exist.
        device: ``cpu`` or ``cuda``.
        devices: number of processes (:func:`medscore.engine.launch.processes`).
        on_start: is called before the first step, in the first process only.
        on_step: is called after every step, in the first process only.

    Raises:
        MedscoreError: the output folder cannot be written, or as
            :func:`medscore.training.loop.train_steps`.
    """
    path, warnings = output / f"{run.contract.name}.safetensors", list[str]()
    log.info("%s: %d steps on %s", run.contract.name, run.plan.steps, device)
    with processes(device, devices) as engine, ExitStack() as stack:
        first = engine.is_global_zero
        _claim(output, run.recipe, engine, stack)
        reports = train_steps(
            run.model,
            run.data.batch,
            run.objective,
            run.plan,
            output,
            hooks=run.hooks(output),
            fabric=engine,
        )
        if first and on_start:
            on_start(run)
        for report in reports:
            if report.warning:
                warnings.append(report.warning)
            if first and on_step:
                on_step(report)
        if first:
            run.save(path)
        engine.barrier()
        remark = run.remark if first else ""
    return TrainingResult(path, run.model, run.plan.steps, remark, tuple(warnings), first)


def _claim(output: Path, recipe: Path, engine: Any, stack: ExitStack) -> None:
    """Make and lock the output folder in the first process, and copy the recipe into it."""
    refusal: MedscoreError | None = None
    if engine.is_global_zero:
        try:
            content, state = without_folders(recipe), output / "state.safetensors"
            stack.enter_context(working_folder(output, state.exists))
            (output / "samples").mkdir(exist_ok=True)
            copy = output / "recipe.yaml"
            if not (copy.exists() and copy.samefile(recipe)):
                atomic_write(copy, content.encode())
        except OSError as error:
            refusal = WriteError(output, error)
        except MedscoreError as error:
            refusal = error
    refusal = engine.broadcast(refusal)
    if refusal is not None:
        raise refusal

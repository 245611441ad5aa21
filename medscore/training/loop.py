"""The training loop: any objective, averaged weights, exact resume after a kill, any processes.

Every random draw of step k comes from a generator seeded with (seed, k) and is drawn for the whole
batch by every process, which then works on its share: a run that was killed and resumed walks the
same path as one that was not, and one of several processes that of one process.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from medscore.errors import MedscoreError
from medscore.priors.base import Prior
from medscore.training.log import Log
from medscore.training.plan import TrainingPlan
from medscore.training.state import load_state, save_state

Batches = Callable[[torch.Generator, slice], Tensor]
"""Draws a batch from a generator and makes the part of it that is asked for, (part, channel, H, W)
in the network's range."""

Drawn = tuple[Tensor, Tensor, Tensor]
"""Clean images, uniform draws and white noise."""

Model = TypeVar("Model", bound=nn.Module)
"""What is trained: a module with a ``network``, such as a NetworkPrior."""

Seen = TypeVar("Seen")

Loss = Callable[[Seen, Tensor, Tensor, Tensor], Tensor]
"""Loss per sample (batch,) from a model, clean images x0, uniform draws u (batch,), and white noise
z like x0."""

Objective = Loss[Prior]
"""The loss of a prior, for which u become times."""

SPIKE = 20.0
"""A gradient this many times larger than its running mean is reported."""


@dataclass(frozen=True)
class StepReport:
    """One finished step. ``warning`` is empty unless something looks wrong."""

    step: int
    loss: float
    gradient: float
    learning_rate: float
    validation: float | None = None
    warning: str = ""


@dataclass(frozen=True)
class Hooks(Generic[Model]):
    """What else happens on the way.

    Attributes:
        validation: judges the averaged model every ``plan.validate_every`` steps, e.g. by its loss
            on images that it is not trained on.
        samples: is given the averaged model and the step every ``plan.sample_every`` steps.
        identity: what the run is of, by name; a saved state that differs is refused.
    """

    validation: Callable[[Model], float] | None = None
    samples: Callable[[Model, int], None] | None = None
    identity: dict[str, str] = field(default_factory=dict)


NO_HOOKS: Hooks[Any] = Hooks()


def train(
    model: Model,
    batches: Batches,
    objective: Loss[Model],
    plan: TrainingPlan,
    folder: Path,
    *,
    hooks: Hooks[Model] = NO_HOOKS,
    fabric: Fabric | None = None,
) -> Iterator[StepReport]:
    """Train ``model.network`` in place, yielding a report per step; state and log in ``folder``.

    ``folder/state.safetensors`` is written atomically every ``plan.save_every`` steps and at the
    end, and is picked up when the same call is made again; ``folder/loss.jsonl`` has a line per
    ``plan.log_every`` steps. At the end ``model`` holds the averaged weights.

    Args:
        fabric: the launched processes; by default this one, on the CPU.

    Raises:
        MedscoreError: the loss or its gradient is not finite, the batch does not divide among
            the processes, or the saved state is of another run or beyond the plan's last step.
    """
    fabric = fabric or Fabric(accelerator="cpu", devices=1)
    mine = _share(plan, fabric)
    network = _network(model)
    convert_conv2d_weight_memory_format(network, torch.channels_last)  # the fastest here
    if plan.precision == "float64":
        model.double()
    average = deepcopy(model).to(fabric.device).eval().requires_grad_(False)
    averaged = _network(average)
    optimiser = plan.optimiser_for(network)
    wrapped, stepper = fabric.setup(_Loss(model, objective, plan.precision == "bf16"), optimiser)
    state, first = folder / "state.safetensors", 0
    if state.exists():
        first = load_state(state, network, averaged, optimiser, hooks.identity)
    if first > plan.steps:
        raise MedscoreError(
            f"the saved state is of step {first}, beyond the {plan.steps} asked",
            where=state,
            hint="ask for more steps or use another folder",
        )
    fabric.barrier()
    model.train()
    dtype = torch.float64 if plan.precision == "float64" else torch.float32
    leads, pulse = fabric.is_global_zero, _Pulse(folder)
    with ExitStack() as stack:
        log = stack.enter_context(Log(folder, first)) if leads else None
        steps = range(first + 1, plan.steps + 1)
        drawn: Iterator[Drawn] = (draw(batches, plan, step, mine) for step in steps)
        if fabric.device.type != "cpu":  # there the CPU is free to make the next batch meanwhile
            drawn = ahead(drawn)
        for step, parts in zip(steps, drawn, strict=True):
            batch = [part.to(fabric.device, dtype) for part in parts]
            torch.manual_seed(plan.step_seed(step))  # dropout takes no generator
            stepper.zero_grad()
            loss = _gradient(fabric, wrapped, batch, plan.accumulate)
            norm = _clip(fabric, wrapped, stepper, plan.clip)
            warning = pulse.check(step, loss, norm)
            for group in optimiser.param_groups:
                group["lr"] = plan.rate(step)
            stepper.step()
            _move_average(averaged, network, plan.kept(step))
            validation = None
            if leads and hooks.validation and _due(plan.validate_every, step, plan):
                validation = hooks.validation(average)
            if leads and hooks.samples and _due(plan.sample_every, step, plan):
                hooks.samples(average, step)
            if leads and _due(plan.save_every, step, plan):
                save_state(state, step, network, averaged, optimiser, hooks.identity)
            report = StepReport(step, loss, norm, plan.rate(step), validation, warning)
            if log:
                pulse.write(log, report, plan.log_every)
            yield report
    fabric.barrier()
    network.load_state_dict(averaged.state_dict())
    model.eval()


def _network(model: nn.Module) -> nn.Module:
    return cast(nn.Module, model.network)


class _Loss(nn.Module):
    """The mean objective as a module, so that data-parallel wrappers see its forward call."""

    def __init__(self, model: nn.Module, objective: Loss[Any], bf16: bool) -> None:
        super().__init__()
        self.model, self.objective, self.bf16 = model, objective, bf16

    def forward(self, x0: Tensor, u: Tensor, z: Tensor) -> Tensor:
        with torch.autocast(x0.device.type, torch.bfloat16, enabled=self.bf16):
            return self.objective(self.model, x0, u, z).mean()


def draw(batches: Batches, plan: TrainingPlan, step: int, mine: slice) -> Drawn:
    """Images, uniform draws and noise of one process's share of a step's batch, in float32."""
    generator = plan.generator(step)
    x0 = batches(generator, mine)
    u = torch.rand(plan.batch, generator=generator)[mine]
    z = torch.randn(plan.batch, *x0.shape[1:], generator=generator)[mine]
    return x0, u, z


def ahead(drawn: Iterator[Drawn]) -> Iterator[Drawn]:
    """The same, each made by a thread while the one before it is used."""
    with ThreadPoolExecutor(1) as thread:
        upcoming = thread.submit(next, drawn, None)
        while (ready := upcoming.result()) is not None:
            upcoming = thread.submit(next, drawn, None)
            yield ready


def _gradient(fabric: Fabric, model: Any, batch: list[Tensor], parts: int) -> float:
    """Add up the gradient of the mean loss over ``parts`` of the batch; returns that loss."""
    total = torch.zeros((), device=fabric.device)
    for number, chunk in enumerate(zip(*(b.chunk(parts) for b in batch), strict=True), start=1):
        with fabric.no_backward_sync(model, enabled=number < parts):
            loss = model(*chunk) / parts
            fabric.backward(loss)
        total += loss.detach()
    return cast(Tensor, fabric.all_reduce(total)).item()


def _clip(fabric: Fabric, model: Any, optimiser: Any, largest: float) -> float:
    """Scale the gradient down to a norm of ``largest``; returns the norm that it had."""
    norm = fabric.clip_gradients(model, optimiser, max_norm=largest, error_if_nonfinite=False)
    return cast(Tensor, norm).item()


@torch.no_grad()
def _move_average(average: nn.Module, network: nn.Module, keep: float) -> None:
    old, new = list(average.state_dict().values()), list(network.state_dict().values())
    floats = [i for i, value in enumerate(old) if value.is_floating_point()]
    torch._foreach_lerp_([old[i] for i in floats], [new[i] for i in floats], 1 - keep)
    for i in set(range(len(old))) - set(floats):
        old[i].copy_(new[i])


def _share(plan: TrainingPlan, fabric: Fabric) -> slice:
    """The part of the batch that this process works on."""
    each, left = divmod(plan.batch, fabric.world_size)
    if left or each % plan.accumulate:
        raise MedscoreError(
            f"a batch of {plan.batch} does not divide among {fabric.world_size} processes that "
            f"accumulate {plan.accumulate} parts",
            hint="use a multiple of their product",
        )
    return slice(fabric.global_rank * each, (fabric.global_rank + 1) * each)


def _due(every: int, step: int, plan: TrainingPlan) -> bool:
    return every > 0 and (step % every == 0 or step == plan.steps)


class _Pulse:
    """Watches losses and gradients: stops what is lost, reports early what may become so."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.losses, self.usual = folder, list[float](), math.nan

    def check(self, step: int, loss: float, norm: float) -> str:
        """A warning, or nothing. Raises MedscoreError where either number is not finite."""
        for name, value in (("loss", loss), ("gradient's norm", norm)):
            if not math.isfinite(value):
                raise MedscoreError(
                    f"the {name} is {value} at step {step}",
                    where=self.folder,
                    hint="lower learning_rate or use precision float32; the last checkpoint is "
                    "intact",
                )
        self.losses.append(loss)
        usual = norm if math.isnan(self.usual) else self.usual
        self.usual = 0.95 * usual + 0.05 * norm
        if norm > SPIKE * usual:
            return f"step {step}: the gradient's norm is {norm:.3g}, {norm / usual:.0f} times usual"
        return ""

    def write(self, log: Log, report: StepReport, every: int) -> None:
        """Log the mean loss of the last ``every`` steps, and a validation loss if there is one."""
        entry: dict[str, float] = {}
        if report.step % every == 0:
            entry = {
                "loss": sum(self.losses) / len(self.losses),
                "gradient": report.gradient,
                "learning_rate": report.learning_rate,
            }
            self.losses.clear()
        if report.validation is not None:
            entry["validation"] = report.validation
        if entry:
            log.add(report.step, entry)

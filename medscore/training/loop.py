"""The training loop: any objective, weight averaging, exact resumption, one or several processes.

All random draws of step k come from a generator seeded with (seed, k). Every process draws them for
the whole batch and works on its share. A run that was killed and resumed therefore takes the same
steps as an uninterrupted one, and several processes the same steps as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from medscore.errors import MedscoreError
from medscore.priors.base import Prior
from medscore.training.log import Log, logged
from medscore.training.monitor import NOTHING, Monitor, StepReport
from medscore.training.plan import TrainingPlan
from medscore.training.precision import faster_in_bf16
from medscore.training.state import load_state, save_state

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Batches = Callable[[torch.Generator, slice], Tensor]
"""Draws the batch of a step from a generator and returns the requested part of it, (part, channel,
H, W) in the network's range."""

Draws = tuple[Tensor, Tensor, Tensor]
"""Clean images, uniform draws and white noise."""

Model = TypeVar("Model", bound=nn.Module)
"""A module whose ``network`` is trained, such as a NetworkPrior."""

LossModel = TypeVar("LossModel")

Loss = Callable[[LossModel, Tensor, Tensor, Tensor], Tensor]
"""The loss of each sample, (batch,), from a model, clean images x0, uniform draws u (batch,) and
white noise z of the shape of x0."""

Objective = Loss[Prior]
"""The loss of a prior, which maps u to times."""


@dataclass(frozen=True)
class Hooks(Generic[Model]):
    """Optional parts of a run.

    Attributes:
        validation: maps the averaged model to a validation loss, every ``plan.validate_every``
            steps.
        samples: receives the averaged model and the step, every ``plan.sample_every`` steps.
        identity: identifies the run, by name; a saved state with other entries is refused.
    """

    validation: Callable[[Model], float] | None = None
    samples: Callable[[Model, int], None] | None = None
    identity: dict[str, str] = field(default_factory=dict)


NO_HOOKS: Hooks[Any] = Hooks()


def train_steps(
    model: Model,
    batches: Batches,
    objective: Loss[Model],
    plan: TrainingPlan,
    folder: Path,
    *,
    hooks: Hooks[Model] = NO_HOOKS,
    fabric: Fabric | None = None,
) -> Iterator[StepReport]:
    """Train ``model.network`` in place, one step for each report that is taken.

    ``folder/state.safetensors`` is replaced atomically every ``plan.save_every`` steps and at the
    end, and the same call resumes from it; ``folder/loss.jsonl`` has a line for every
    ``plan.log_every`` steps and for the last one. At the end ``model`` holds the averaged weights.

    Args:
        model: the model to train.
        batches: draws the images of a step.
        objective: the loss of each sample.
        plan: the numbers of the run.
        folder: existing folder for state and log.
        hooks: validation, samples and the identity of the run.
        fabric: launched processes (:func:`medscore.engine.launch.processes`); by default this
            process on the CPU.

    Raises:
        MedscoreError: the loss or its gradient is not finite, the batch cannot be split among the
            processes, or the saved state is from another run or beyond the plan's last step.
    """
    fabric = fabric or _one_process()
    share = _share(plan, fabric)
    network = _network(model)
    convert_conv2d_weight_memory_format(network, torch.channels_last)  # the fastest layout
    if plan.precision == "float64":
        model.double()
    average = deepcopy(model).to(fabric.device).eval().requires_grad_(False)
    averaged = _network(average)
    optimiser = plan.optimiser_for(network)
    loss_of = _Loss(model, objective, plan.precision == "bf16")
    wrapped, stepper = fabric.setup(loss_of, optimiser)
    state, first, memory = folder / "state.safetensors", 0, NOTHING
    if state.exists():
        first, memory = load_state(state, network, averaged, optimiser, hooks.identity)
    if first > plan.steps:
        raise MedscoreError(
            f"the saved state is of step {first}, beyond the last step {plan.steps}",
            where=state,
            hint="train more steps or use another output folder",
        )
    logged(folder)  # a damaged log is refused now
    fabric.barrier()
    model.train()
    dtype = torch.float64 if plan.precision == "float64" else torch.float32
    if plan.precision == "auto" and first < plan.steps:
        trial = [part.to(fabric.device, dtype) for part in draw(batches, plan, first + 1, share)]

        def gradient(bf16: bool) -> float:
            loss_of.bf16 = bf16
            return _gradient(fabric, wrapped, trial, plan.accumulate)

        loss_of.bf16 = fabric.broadcast(faster_in_bf16(gradient, fabric.device))

    def reports() -> Iterator[StepReport]:
        leads, monitor = fabric.is_global_zero, Monitor(folder, memory)
        with ExitStack() as stack:
            log = stack.enter_context(Log(folder, first)) if leads else None
            steps = range(first + 1, plan.steps + 1)
            drawn: Iterator[Draws] = (draw(batches, plan, step, share) for step in steps)
            if fabric.device.type != "cpu":  # the CPU is free to prepare the next batch
                drawn = prefetch(drawn)
            for step, parts in zip(steps, drawn, strict=True):
                batch = [part.to(fabric.device, dtype) for part in parts]
                torch.manual_seed(plan.step_seed(step))  # dropout takes no generator
                stepper.zero_grad()
                loss = _gradient(fabric, wrapped, batch, plan.accumulate)
                norm = _clip(fabric, wrapped, stepper, plan.clip)
                warning = monitor.check(step, loss, norm)
                for group in optimiser.param_groups:
                    group["lr"] = plan.rate(step)
                stepper.step()
                _move_average(averaged, network, plan.ema_decay(step))
                validation = None
                if leads and hooks.validation and _due(plan.validate_every, step, plan):
                    validation = hooks.validation(average)
                if leads and hooks.samples and _due(plan.sample_every, step, plan):
                    hooks.samples(average, step)
                report = StepReport(step, loss, norm, plan.rate(step), validation, warning)
                if log:  # before the state: a resumed run drops entries that are ahead of it
                    monitor.write(log, report, _due(plan.log_every, step, plan))
                if log and _due(plan.save_every, step, plan):
                    log.sync()
                    identity = hooks.identity
                    save_state(state, step, network, averaged, optimiser, identity, monitor.memory)
                yield report
        fabric.barrier()
        network.load_state_dict(averaged.state_dict())
        model.eval()

    return reports()


def draw(batches: Batches, plan: TrainingPlan, step: int, share: slice) -> Draws:
    """The images, uniform draws and noise of a process's share of a step, in float32.

    Args:
        batches: draws the images.
        plan: gives the batch size and the generator of the step.
        step: number of the step, counted from 1.
        share: part of the batch that the process works on.
    """
    generator = plan.generator(step)
    x0 = batches(generator, share)
    u = torch.rand(plan.batch, generator=generator)[share]
    z = torch.randn(plan.batch, *x0.shape[1:], generator=generator)[share]
    return x0, u, z


def prefetch(drawn: Iterator[Draws]) -> Iterator[Draws]:
    """The same draws, each prepared by a thread while the previous one is used.

    Args:
        drawn: the draws of all steps.
    """
    with ThreadPoolExecutor(1) as thread:
        upcoming = thread.submit(next, drawn, None)
        while (ready := upcoming.result()) is not None:
            upcoming = thread.submit(next, drawn, None)
            yield ready


class _Loss(nn.Module):
    """The mean loss as a module, so that data-parallel wrappers see its forward call."""

    def __init__(self, model: nn.Module, objective: Loss[Any], bf16: bool) -> None:
        super().__init__()
        self.model, self.objective, self.bf16 = model, objective, bf16

    def forward(self, x0: Tensor, u: Tensor, z: Tensor) -> Tensor:
        with torch.autocast(x0.device.type, torch.bfloat16, enabled=self.bf16):
            return self.objective(self.model, x0, u, z).mean()


def _one_process() -> Fabric:
    from lightning_fabric import Fabric

    return Fabric(accelerator="cpu", devices=1)


def _network(model: nn.Module) -> nn.Module:
    return cast(nn.Module, model.network)


def _gradient(fabric: Fabric, model: Any, batch: list[Tensor], parts: int) -> float:
    """Accumulate the gradient of the mean loss over ``parts`` of the batch; returns the loss."""
    total = torch.zeros((), device=fabric.device)
    for number, chunk in enumerate(zip(*(b.chunk(parts) for b in batch), strict=True), start=1):
        with fabric.no_backward_sync(model, enabled=number < parts):
            loss = model(*chunk) / parts
            fabric.backward(loss)
        total += loss.detach()
    return cast(Tensor, fabric.all_reduce(total)).item()


def _clip(fabric: Fabric, model: Any, optimiser: Any, largest: float) -> float:
    """Scale the gradient down to a norm of at most ``largest``; returns its norm before that."""
    norm = fabric.clip_gradients(model, optimiser, max_norm=largest, error_if_nonfinite=False)
    return cast(Tensor, norm).item()


@torch.no_grad()
def _move_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    old, new = list(average.state_dict().values()), list(network.state_dict().values())
    floats = [i for i, value in enumerate(old) if value.is_floating_point()]
    torch._foreach_lerp_([old[i] for i in floats], [new[i] for i in floats], 1 - decay)
    for i in set(range(len(old))) - set(floats):
        old[i].copy_(new[i])


def _share(plan: TrainingPlan, fabric: Fabric) -> slice:
    """The part of the batch that this process works on."""
    each, left = divmod(plan.batch, fabric.world_size)
    if left or each % plan.accumulate:
        raise MedscoreError(
            f"a batch of {plan.batch} cannot be split evenly among {fabric.world_size} processes "
            f"with {plan.accumulate} accumulation parts each",
            hint="use a multiple of the product of the two numbers",
        )
    return slice(fabric.global_rank * each, (fabric.global_rank + 1) * each)


def _due(every: int, step: int, plan: TrainingPlan) -> bool:
    return every > 0 and (step % every == 0 or step == plan.steps)

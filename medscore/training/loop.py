"""Training a score prior: continuous denoising score matching, EMA, exact resume after a kill.

Every random draw of step k comes from a generator seeded with (seed, k), so a run that was killed
and resumed walks the same path as one that was not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from medscore.errors import MedscoreError
from medscore.files import atomic_write
from medscore.objectives import EDMWeighting, LogNormalTimes, denoising_loss
from medscore.prior import NetworkPrior


@dataclass(frozen=True)
class TrainingPlan:
    """What a run does; the seed and these numbers fix it.

    Attributes:
        steps: optimiser steps. batch: images per step.
        learning_rate: of Adam, reached after ``warmup`` steps; it falls linearly to zero over
            the last ``cooldown`` steps.
        restarts: steps after which that warm-up and cool-down begin anew, to train a finished
            network further.
        ema_power: the exponential moving average after step k forgets with (1 - 1/k)^(power + 1)
            (Karras et al. 2024, Eq. 2: its width is a fixed share of the run).
        log_ratio_mean, log_ratio_std: of the log noise-to-signal ratio drawn for training.
        save_every: steps between checkpoints.

    Raises:
        ValueError: a number that no run can have, by name.
    """

    steps: int
    batch: int = 8
    learning_rate: float = 5e-4
    warmup: int = 100
    cooldown: int = 0
    restarts: tuple[int, ...] = ()
    clip: float = 1.0
    ema_power: float = 12.0
    log_ratio_mean: float = -1.5
    log_ratio_std: float = 1.4
    save_every: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**40:  # every step's own seed still fits 63 bits
            raise ValueError(f"seed is {self.seed}, 0 to 2^40 is needed")
        at_least = {"steps": 1, "batch": 1, "save_every": 1, "warmup": 0, "cooldown": 0}
        for name, least in at_least.items():
            if not least <= getattr(self, name) < 2**63:
                raise ValueError(f"{name} is {getattr(self, name)}, {least} or more is needed")
        for name in ("learning_rate", "clip", "ema_power", "log_ratio_std"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}, a number above 0 is needed")
        if not math.isfinite(self.log_ratio_mean):
            raise ValueError(f"log_ratio_mean is {self.log_ratio_mean}, a number is needed")
        if not all(0 < restart < self.steps for restart in self.restarts):
            raise ValueError(f"restarts {self.restarts} must lie between 0 and steps {self.steps}")


Batches = Callable[[torch.Generator], Tensor]
"""Draws a batch (batch, channel, H, W) in the network's range from a generator."""


@dataclass(frozen=True)
class StepReport:
    """One finished step."""

    step: int
    loss: float
    learning_rate: float


def train(
    prior: NetworkPrior, batches: Batches, plan: TrainingPlan, folder: Path
) -> Iterator[StepReport]:
    """Train ``prior`` in place, yielding a report per step; state and log live in ``folder``.

    ``folder/state.safetensors`` is written atomically every ``plan.save_every`` steps and at the
    end, and is picked up when the same call is made again; ``folder/loss.jsonl`` has a line per
    20 steps.

    Raises:
        MedscoreError: the loss is not finite, or the saved state is of another network or beyond
            the plan's last step.
    """
    device = next(prior.parameters()).device
    optimiser = torch.optim.Adam(prior.network.parameters(), lr=plan.learning_rate)
    average = {k: v.detach().clone() for k, v in prior.network.state_dict().items()}
    state, log = folder / "state.safetensors", folder / "loss.jsonl"
    first = _load_state(state, prior.network, optimiser, average) if state.exists() else 0
    if first > plan.steps:
        raise MedscoreError(
            f"the saved state is of step {first}, beyond the {plan.steps} asked",
            where=state,
            mend="ask for more steps or use another folder",
        )
    _trim_log(log, first)
    times = LogNormalTimes(plan.log_ratio_mean, plan.log_ratio_std)
    weighting = EDMWeighting(prior.preconditioning.std)
    prior.train()
    recent: list[float] = []
    for step in range(first + 1, plan.steps + 1):
        generator = torch.Generator().manual_seed(plan.seed * 1_000_003 + step)
        x0 = batches(generator).to(device)
        t = times(prior.sde, torch.rand(len(x0), generator=generator)).to(device)
        z = torch.randn(x0.shape, generator=generator).to(device)
        loss = denoising_loss(prior, x0, t, z, weighting).mean()
        if not torch.isfinite(loss):
            raise MedscoreError(
                f"the loss is {loss.item()} at step {step}",
                where=folder,
                mend="lower learning_rate; the last checkpoint is intact",
            )
        rate = _learning_rate(plan, step)
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(prior.network.parameters(), plan.clip)
        optimiser.step()
        keep = (1 - 1 / step) ** (plan.ema_power + 1)
        for name, value in prior.network.state_dict().items():
            average[name].lerp_(value, 1 - keep)
        recent.append(loss.item())
        if step % plan.save_every == 0 or step == plan.steps:
            _save_state(state, step, prior.network, optimiser, average)
        if step % 20 == 0:
            with log.open("a") as file:
                line = {"step": step, "loss": sum(recent) / len(recent), "learning_rate": rate}
                file.write(json.dumps(line) + "\n")
            recent.clear()
        yield StepReport(step, loss.item(), rate)
    prior.network.load_state_dict(average)
    prior.eval()


def averaged_weights(folder: Path) -> tuple[int, dict[str, Tensor]]:
    """The step reached and the averaged weights stored in a training folder.

    Raises:
        MedscoreError: there is no readable state.
    """
    path = folder / "state.safetensors"
    step, tensors = _read_state(path)
    prefix = "average."
    return step, {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _learning_rate(plan: TrainingPlan, step: int) -> float:
    start = max((r for r in plan.restarts if r < step), default=0)
    end = min((r for r in plan.restarts if r >= step), default=plan.steps)
    warm = min(1.0, (step - start) / max(1, plan.warmup))
    cool = min(1.0, (end - step + 1) / max(1, plan.cooldown)) if plan.cooldown else 1.0
    return plan.learning_rate * warm * cool


def _save_state(
    path: Path,
    step: int,
    network: nn.Module,
    optimiser: torch.optim.Adam,
    average: dict[str, Tensor],
) -> None:
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.items()}
    for index, slots in optimiser.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{slot}": value for slot, value in slots.items()}
    cpu = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    atomic_write(path, save(cpu, metadata={"step": str(step)}))


def _read_state(path: Path) -> tuple[int, dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            step = int((file.metadata() or {})["step"])
            return step, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise MedscoreError(
            f"not a training state ({error})", where=path, mend="remove it to start afresh"
        ) from error


def _load_state(
    path: Path, network: nn.Module, optimiser: torch.optim.Adam, average: dict[str, Tensor]
) -> int:
    step, tensors = _read_state(path)
    groups: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}, "adam": {}}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition(".")
        groups[kind][rest] = tensor
    try:
        network.load_state_dict(groups["network"])
        for name, value in average.items():
            value.copy_(groups["average"][name])
    except (RuntimeError, KeyError) as error:
        raise MedscoreError(
            f"the saved state is of another network ({str(error).splitlines()[0]})",
            where=path,
            mend="use a new output folder",
        ) from error
    slots: dict[int, dict[str, Tensor]] = {}
    for name, value in groups["adam"].items():
        index, slot = name.split(".")
        slots.setdefault(int(index), {})[slot] = value
    full = optimiser.state_dict()
    optimiser.load_state_dict({"state": slots, "param_groups": full["param_groups"]})
    return step


def _trim_log(log: Path, step: int) -> None:
    """Drop lines after ``step``: a killed run may have logged past its last checkpoint."""
    if log.exists():
        lines = [line for line in log.read_text().splitlines() if json.loads(line)["step"] <= step]
        atomic_write(log, "".join(line + "\n" for line in lines).encode())


def data_statistics(images: Tensor) -> tuple[float, float]:
    """Mean and standard deviation over all pixels, for the preconditioning."""
    values = images.double()
    mean = float(values.mean())
    return mean, math.sqrt(float((values - mean).square().mean()))

"""What a training run does, in numbers; with the seed and the data they fix it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import nn


@dataclass(frozen=True)
class TrainingPlan:
    """Steps, batch, optimiser, averages and intervals.

    Attributes:
        steps: optimiser steps. batch: images per step, over all processes.
        accumulate: parts in which a process goes through its share of the batch, one after the
            other, to save memory; the sum of their gradients is the same.
        precision: ``bf16`` runs the network, not the loss, in autocast; weights stay float32.
        optimiser: ``amsgrad`` is Adam that never forgets a large gradient (appendix B.4.1).
        learning_rate: reached after ``warmup`` steps; it falls linearly to zero over the last
            ``cooldown`` steps.
        restarts: steps after which that warm-up and cool-down begin anew, to train a finished
            network further.
        clip: largest norm of the gradient; a larger one is scaled down to it.
        ema_power: the exponential moving average after step k forgets with (1 - 1/k)^(power + 1)
            (Karras et al. 2024, Eq. 2: its width is a fixed share of the run).
        ema_rate: instead, an average that forgets with this constant (Technique 6.5: 0.999).
        save_every, log_every: steps between checkpoints, and between lines of the log.
        validate_every, sample_every: steps between validation losses, and between pictures of
            samples; 0 for none.

    Raises:
        ValueError: a number that no run can have, by name.
    """

    steps: int
    batch: int = 8
    accumulate: int = 1
    precision: Literal["float32", "bf16", "float64"] = "float32"
    optimiser: Literal["adam", "amsgrad", "sgd"] = "adam"
    adam_eps: float = 1e-8
    learning_rate: float = 5e-4
    warmup: int = 100
    cooldown: int = 0
    restarts: tuple[int, ...] = ()
    clip: float = 1.0
    ema_power: float = 12.0
    ema_rate: float | None = None
    save_every: int = 100
    log_every: int = 20
    validate_every: int = 0
    sample_every: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**40:  # every step's own seed still fits 63 bits
            raise ValueError(f"seed is {self.seed}, 0 to 2^40 is needed")
        at_least = dict.fromkeys(("steps", "batch", "accumulate", "save_every", "log_every"), 1)
        at_least |= dict.fromkeys(("warmup", "cooldown", "validate_every", "sample_every"), 0)
        for name, least in at_least.items():
            if not least <= getattr(self, name) < 2**63:
                raise ValueError(f"{name} is {getattr(self, name)}, {least} or more is needed")
        for name in ("learning_rate", "clip", "ema_power", "adam_eps"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}, a number above 0 is needed")
        if self.ema_rate is not None and not 0 < self.ema_rate < 1:
            raise ValueError(f"ema_rate is {self.ema_rate}, a number between 0 and 1 is needed")
        if not all(0 < restart < self.steps for restart in self.restarts):
            raise ValueError(f"restarts {self.restarts} must lie between 0 and steps {self.steps}")
        if self.batch % self.accumulate:
            raise ValueError(f"batch {self.batch} is no multiple of accumulate {self.accumulate}")

    def shortened(self, steps: int) -> TrainingPlan:
        """The same with so many steps."""
        restarts = tuple(r for r in self.restarts if r < steps)
        return replace(self, steps=steps, restarts=restarts)

    def optimiser_for(self, network: nn.Module) -> torch.optim.Optimizer:
        """The optimiser over the network's weights."""
        weights = network.parameters()
        if self.optimiser == "sgd":
            return torch.optim.SGD(weights, lr=self.learning_rate)
        return torch.optim.Adam(
            weights,
            lr=self.learning_rate,
            eps=self.adam_eps,
            amsgrad=self.optimiser == "amsgrad",
            fused=True,
        )

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 1."""
        start = max((r for r in self.restarts if r < step), default=0)
        end = min((r for r in self.restarts if r >= step), default=self.steps)
        warm = min(1.0, (step - start) / max(1, self.warmup))
        cool = min(1.0, (end - step + 1) / max(1, self.cooldown)) if self.cooldown else 1.0
        return self.learning_rate * warm * cool

    def kept(self, step: int) -> float:
        """The share of the average that step keeps."""
        return (1 - 1 / step) ** (self.ema_power + 1) if self.ema_rate is None else self.ema_rate

    def generator(self, step: int) -> torch.Generator:
        """The generator of every draw of a step: a resumed run walks the path of a whole one."""
        return torch.Generator().manual_seed(self.step_seed(step))

    def step_seed(self, step: int) -> int:
        """No two steps of no two seeds share it, up to a million steps."""
        return self.seed * 1_000_003 + step

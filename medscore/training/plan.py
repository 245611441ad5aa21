"""The numbers of a training run; together with the seed and the data they determine its result."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import nn

MOST_BATCH = 65_536
"""Largest number of images of an optimiser step."""


@dataclass(frozen=True)
class TrainingPlan:
    """Steps, batch size, optimiser, weight averaging and intervals of a training run.

    Attributes:
        steps: number of optimiser steps.
        batch: images per step, summed over all processes.
        accumulate: number of parts into which a process splits its share of the batch to save
            memory; their gradients are summed, so the result does not change.
        precision: ``float32``, ``float64``, or ``bf16``: the network runs in bfloat16 autocast,
            while the loss and the weights stay float32. ``auto`` times a step in float32 and bf16
            whenever the run is started or resumed, and uses the faster one; processors without
            units for bfloat16 use float32.
        optimiser: ``adam``, ``amsgrad`` (Adam with the largest second moment so far;
            appendix B.4.1) or ``sgd``.
        adam_eps: epsilon of Adam.
        learning_rate: learning rate after the warm-up.
        warmup: steps over which the learning rate rises linearly from zero.
        cooldown: last steps, over which the learning rate falls linearly to zero.
        restarts: steps after which warm-up and cool-down begin anew, to train a finished network
            further.
        clip: largest norm of the gradient; a larger gradient is scaled down to it.
        ema_power: the exponential moving average of the weights decays by (1 - 1/k)^(power + 1) at
            step k, so its width is a fixed share of the run (Karras et al. 2024, Eq. 2).
        ema_rate: constant decay of the average, used instead of ``ema_power`` when given
            (Technique 6.5: 0.999).
        save_every: steps between checkpoints.
        log_every: steps between lines of the log.
        validate_every: steps between validation losses; 0 for none.
        sample_every: steps between images of samples; 0 for none.
        seed: seed of the network's initialisation and of all random draws.

    Raises:
        ValueError: a value is out of range; the message names it.
    """

    steps: int
    batch: int = 8
    accumulate: int = 1
    precision: Literal["float32", "bf16", "float64", "auto"] = "float32"
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
        if self.batch > MOST_BATCH:
            raise ValueError(f"batch is {self.batch}, at most {MOST_BATCH} is possible")
        at_least |= dict.fromkeys(("warmup", "cooldown", "validate_every", "sample_every"), 0)
        for name, least in at_least.items():
            if not least <= getattr(self, name) < 2**63:
                raise ValueError(f"{name} is {getattr(self, name)}, {least} or more is needed")
        for name in ("learning_rate", "clip", "ema_power", "adam_eps"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a positive number")
        if self.ema_rate is not None and not 0 < self.ema_rate < 1:
            raise ValueError(f"ema_rate is {self.ema_rate}, a number between 0 and 1 is needed")
        if not all(0 < restart < self.steps for restart in self.restarts):
            raise ValueError(f"restarts {self.restarts} must lie between 0 and steps {self.steps}")
        if self.batch % self.accumulate:
            raise ValueError(
                f"batch {self.batch} is not a multiple of accumulate {self.accumulate}"
            )

    def with_steps(self, steps: int) -> TrainingPlan:
        """The same plan with another number of steps; restarts beyond it are dropped.

        Args:
            steps: number of optimiser steps.
        """
        restarts = tuple(r for r in self.restarts if r < steps)
        return replace(self, steps=steps, restarts=restarts)

    def optimiser_for(self, network: nn.Module) -> torch.optim.Optimizer:
        """The optimiser of a network's weights.

        Args:
            network: the network to train.
        """
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
        """The learning rate of a step.

        Args:
            step: number of the step, counted from 1.
        """
        start = max((r for r in self.restarts if r < step), default=0)
        end = min((r for r in self.restarts if r >= step), default=self.steps)
        warm = min(1.0, (step - start) / max(1, self.warmup))
        cool = min(1.0, (end - step + 1) / max(1, self.cooldown)) if self.cooldown else 1.0
        return self.learning_rate * warm * cool

    def ema_decay(self, step: int) -> float:
        """The weight of the old average when the weights of a step are averaged in.

        Args:
            step: number of the step, counted from 1.
        """
        return (1 - 1 / step) ** (self.ema_power + 1) if self.ema_rate is None else self.ema_rate

    def generator(self, step: int) -> torch.Generator:
        """The generator of all random draws of a step, so that a resumed run draws the same.

        Args:
            step: number of the step, counted from 1.
        """
        return torch.Generator().manual_seed(self.step_seed(step))

    def step_seed(self, step: int) -> int:
        """The seed of a step, different for all steps up to a million and all run seeds.

        Args:
            step: number of the step, counted from 1.
        """
        return self.seed * 1_000_003 + step

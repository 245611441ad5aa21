"""Monitoring of every training step: its report, its log entry, and signs of divergence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from medscore.errors import MedscoreError
from medscore.training.log import Log

SPIKE = 20.0
"""A gradient whose norm exceeds its running mean by this factor is reported."""


class Memory(TypedDict):
    """What a monitor remembers of earlier steps.

    Attributes:
        losses: losses since the last entry of the log.
        mean_norm: running mean of the gradient's norm; NaN before the first step.
    """

    losses: list[float]
    mean_norm: float


NOTHING: Memory = {"losses": [], "mean_norm": math.nan}
"""The memory before the first step."""


@dataclass(frozen=True)
class StepReport:
    """One finished step.

    Attributes:
        step: number of the step, counted from 1.
        loss: mean loss of the batch.
        gradient: norm of the gradient before clipping.
        learning_rate: learning rate of the step.
        validation: validation loss, if one was due.
        warning: empty unless the gradient is unusually large.
    """

    step: int
    loss: float
    gradient: float
    learning_rate: float
    validation: float | None = None
    warning: str = ""


class Monitor:
    """Stops a run whose loss or gradient is not finite, and reports sudden large gradients.

    Args:
        folder: output folder of the run, for error messages.
        memory: what the monitor of an interrupted run remembered (:attr:`memory`).
    """

    def __init__(self, folder: Path, memory: Memory = NOTHING) -> None:
        self.folder = folder
        self.losses, self.mean_norm = list(memory["losses"]), memory["mean_norm"]

    @property
    def memory(self) -> Memory:
        """What a resumed run needs for the same log and warnings, as values that JSON can hold."""
        return {"losses": self.losses, "mean_norm": self.mean_norm}

    def check(self, step: int, loss: float, norm: float) -> str:
        """A warning about a step, or an empty text.

        Args:
            step: number of the step.
            loss: mean loss of the batch.
            norm: norm of the gradient.

        Raises:
            MedscoreError: the loss or the norm is not finite.
        """
        for name, value in (("loss", loss), ("gradient's norm", norm)):
            if not math.isfinite(value):
                raise MedscoreError(
                    f"the {name} is {value} at step {step}",
                    where=self.folder,
                    hint="lower `learning_rate` or use `precision` float32; the last checkpoint "
                    "is intact",
                )
        self.losses.append(loss)
        mean = norm if math.isnan(self.mean_norm) else self.mean_norm
        self.mean_norm = 0.95 * mean + 0.05 * norm
        if norm > SPIKE * mean:
            ratio = norm / mean if mean > 0 else math.inf
            return (
                f"step {step}: the gradient's norm is {norm:.3g}, {ratio:.0f} times its running "
                "mean"
            )
        return ""

    def write(self, log: Log, report: StepReport, due: bool) -> None:
        """Log the mean loss since the last entry, if one is due, and a validation loss.

        Args:
            log: the log of the run.
            report: the finished step.
            due: whether an entry is due at this step.
        """
        entry: dict[str, float] = {}
        if due:
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

"""The saved state of an interrupted sampling run: finished batches, and a point of the next one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medscore.conditioners.base import Conditioner
from medscore.engine.items import Item, ItemFolder
from medscore.errors import Interrupted, MedscoreError, WriteError
from medscore.io.files import forget
from medscore.samplers.base import Memory
from medscore.white_noise import Noise

Gather = Callable[[Tensor], Tensor]
"""The items of all processes, (items, ...), from those of this one."""


@dataclass(frozen=True)
class Residual:
    """The largest relative residual |y - A x| / |y| in a batch after a step.

    Attributes:
        batch: number of the batch, from 0.
        step: number of finished steps.
        value: the residual.
    """

    batch: int
    step: int
    value: float


@dataclass(frozen=True)
class Spent:
    """What a batch has cost so far, over all parts of an interrupted run.

    Work that is lost in a kill, and done again, counts once.

    Attributes:
        evaluations: number of network evaluations, summed over the samples of the batch.
        calls: number of operator calls.
        seconds: wall time.
        history: residuals so far.
    """

    evaluations: int = 0
    calls: int = 0
    seconds: float = 0.0
    history: tuple[Residual, ...] = ()

    @classmethod
    def of(cls, record: dict[str, Any]) -> Spent:
        """The costs that :meth:`record` described.

        Args:
            record: values that JSON can hold.
        """
        history = tuple(Residual(**entry) for entry in record["history"])
        counts = int(record["evaluations"]), int(record["calls"])
        return cls(*counts, float(record["seconds"]), history)

    def of_all(self, gather: Gather) -> Spent:
        """The costs of all processes: all evaluations, and calls and time of this one.

        Args:
            gather: the items of all processes, from those of this one.
        """
        all_ = gather(torch.tensor([self.evaluations]))
        return replace(self, evaluations=int(all_.sum()))

    def record(self) -> dict[str, Any]:
        """The costs as values that JSON can hold."""
        return asdict(self)


@dataclass(frozen=True)
class Point:
    """The state of an unfinished batch.

    Attributes:
        batch: number of the batch, from 0.
        x: the state after ``step`` steps, (batch, ...).
        memory: memory of the sampler.
        noise: states of the noise generators, (batch, bytes).
        step: number of finished steps.
        spent: cost of the batch so far.
    """

    batch: int
    x: Tensor
    memory: Memory
    noise: Tensor
    step: int
    spent: Spent

    def part(self, rows: slice) -> Point:
        """The state of some items, with their share of the evaluations.

        Args:
            rows: the items.
        """
        x, count = self.x[rows], len(self.x)
        spent = replace(self.spent, evaluations=self.spent.evaluations * len(x) // count)
        return self._by_items(lambda value: value[rows], spent)

    def of_all(self, gather: Gather) -> Point:
        """The state of the items of all processes.

        Args:
            gather: the items of all processes, from those of this one.
        """
        return self._by_items(gather, self.spent.of_all(gather))

    def _by_items(self, change: Gather, spent: Spent) -> Point:
        """The state with what it holds of each item changed."""
        count = len(self.x)
        memory = {
            name: change(value) if value.ndim and len(value) == count else value
            for name, value in self.memory.items()
        }
        x, noise = change(self.x), change(self.noise)
        return replace(self, x=x, noise=noise, memory=memory, spent=spent)


@dataclass(frozen=True)
class Finished:
    """A finished batch.

    Attributes:
        x: its results.
        spent: its cost.
    """

    x: Tensor
    spent: Spent


@dataclass(frozen=True)
class Progress:
    """The state of a sampling run.

    Attributes:
        done: the finished batches.
        point: state of the unfinished batch; None between batches.
    """

    done: tuple[Finished, ...] = ()
    point: Point | None = None


def save_batch(folder: ItemFolder, number: int, batch: Finished) -> None:
    """Write a finished batch, atomically.

    Args:
        folder: folder of the run's state.
        number: number of the batch, from 0.
        batch: the batch.
    """
    folder.save(number, Item(batch.spent.record(), {"x": batch.x}))


def save_point(folder: ItemFolder, point: Point) -> None:
    """Write the state of the unfinished batch, atomically.

    Args:
        folder: folder of the run's state.
        point: state of the batch.
    """
    memory = {f"memory.{name}": value for name, value in point.memory.items()}
    record = {**point.spent.record(), "batch": point.batch, "step": point.step}
    folder.save_point(Item(record, {"x": point.x, "noise": point.noise, **memory}))


def load_progress(folder: ItemFolder) -> Progress:
    """Read the state of a run; it is empty if there is no folder.

    Args:
        folder: folder of the run's state.

    Raises:
        MedscoreError: a file cannot be read, or belongs to a run with another fingerprint.
    """
    done, point = folder.load(), folder.load_point()
    try:
        finished = tuple(Finished(item.tensors["x"], Spent.of(item.record)) for item in done)
        if point is None or int(point.record["batch"]) < len(finished):
            return Progress(finished)
        return Progress(finished, _point(point))
    except (KeyError, TypeError, ValueError) as error:
        raise MedscoreError(
            f"the saved state is incomplete ({error})", where=folder.path, hint="remove it"
        ) from error


def _point(item: Item) -> Point:
    prefix = "memory."
    return Point(
        batch=int(item.record["batch"]),
        x=item.tensors["x"],
        memory={k.removeprefix(prefix): v for k, v in item.tensors.items() if k.startswith(prefix)},
        noise=item.tensors["noise"],
        step=int(item.record["step"]),
        spent=Spent.of(item.record),
    )


def restore_noise(noise: Noise, point: Point, where: Path | None) -> None:
    """Set noise generators to their saved states.

    Args:
        noise: the generators.
        point: state of the unfinished batch.
        where: folder of the run's state, for error messages.

    Raises:
        MedscoreError: the bytes are no states of generators.
    """
    try:
        noise.restore(point.noise)
    except RuntimeError as error:
        raise MedscoreError(
            f"the saved state does not fit the run ({error})", where=where, hint="remove it"
        ) from error


def compute_kept(conditioner: Conditioner) -> None:
    """Compute what a conditioner computes at its first step and keeps, such as the norm of A.

    A resumed run does so before it counts operator calls, because the first part counted them.

    Args:
        conditioner: its cached properties are computed, and those of its parts.
    """
    kind = type(conditioner)
    for name in dir(kind):
        if isinstance(getattr(kind, name, None), cached_property):
            getattr(conditioner, name)
    for part in vars(conditioner).values():
        if isinstance(part, Conditioner):
            compute_kept(part)


@contextmanager
def resumable(state: Path | None) -> Iterator[None]:
    """Guard work that saves its state in a folder.

    Ctrl-C becomes :class:`~medscore.errors.Interrupted`. After an error, a state that this run
    created is removed, because it would refuse a run with corrected settings; but not after a full
    disk, which is no fault of the settings.

    Args:
        state: the folder; None if no state is kept.
    """
    continued = state is not None and state.exists()
    try:
        yield
    except KeyboardInterrupt as stop:
        if state is None:
            raise
        raise Interrupted from stop
    except WriteError:
        raise
    except MedscoreError:
        if state is not None and not continued:
            forget([state])
        raise

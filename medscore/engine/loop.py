"""The sampling loop: time steps, evaluation counts, detection of divergence, resumption.

Every item of a job, a sample of a slice, has its own noise generator. Items are grouped into
batches only for speed, so results do not depend on the batch size.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from medscore.conditioners.base import Conditioner
from medscore.engine.divergence import watch
from medscore.engine.items import ItemFolder
from medscore.engine.resume import (
    Finished,
    Point,
    Progress,
    Residual,
    Spent,
    compute_kept,
    load_progress,
    restore_noise,
    save_batch,
    save_point,
)
from medscore.errors import MedscoreError
from medscore.priors.base import Prior
from medscore.priors.counted import Counted, _per_sample
from medscore.samplers.base import Sampler
from medscore.types import State
from medscore.white_noise import Noise

UNCONDITIONAL = Conditioner()

SAVE_SECONDS = 60.0
"""Time after which the state of an unfinished batch is saved, also between the steps at which it is
saved anyway: a step of a large volume takes minutes."""


def _unchanged(x: State) -> State:
    """Return the state unchanged.

    Args:
        x: finished items, (batch, ...).
    """
    return x


def _no_calls() -> int:
    """No operator, no calls."""
    return 0


@dataclass(frozen=True)
class StepInfo:
    """The progress of a run after a step.

    Attributes:
        done: number of finished steps, over all batches.
        total: number of steps of the whole run.
        nfe: network evaluations per sample so far, in the current batch.
    """

    done: int
    total: int
    nfe: int


@dataclass(frozen=True)
class Batch:
    """The methods that sample a batch.

    Attributes:
        prior: the unconditional prior.
        sampler: the unconditional sampler.
        conditioner: makes prior and sampler consistent with measurements.
        finish: applied to the result after the final denoising, e.g. a data-consistency step.
        residual: computes the relative residual of a state for each item, for the history.
    """

    prior: Prior
    sampler: Sampler
    conditioner: Conditioner = UNCONDITIONAL
    finish: Callable[[State], State] = _unchanged
    residual: Callable[[State], Tensor] | None = None


@dataclass(frozen=True)
class Job:
    """A sampling run.

    Attributes:
        seeds: seed of each item.
        shape: shape of an item, (channel, H, W) or (D,).
        times: decreasing time grid from 1 to the SDE's eps, (steps + 1,).
        batches: makes the methods for the items with given indices.
        batch_size: number of items that are processed together.
        device: device of the state.
        bf16: whether the network runs in bf16 autocast.
        state: folder that keeps an interrupted run; None to keep none.
        fingerprint: identifies the job; a state of another job is refused.
        note: a text that is kept with the state.
        save_every: number of steps between saves of the state, which are made once a minute as
            well, and between entries of the history.
        denoise: whether to end with Tweedie's denoised image, which takes one more evaluation
            (Song 2022, B.5.7); otherwise the result is the state at the last time, which still
            contains the noise of that time.
        calls: the number of operator calls so far in this process.
        signs: 1 or -1 for each item, which its noise is multiplied by; all 1 by default.
    """

    seeds: Sequence[int]
    shape: tuple[int, ...]
    times: Tensor
    batches: Callable[[Sequence[int]], Batch]
    batch_size: int = 8
    device: torch.device | str = "cpu"
    bf16: bool = False
    state: Path | None = None
    fingerprint: str = ""
    note: str = ""
    save_every: int = 20
    denoise: bool = True
    calls: Callable[[], int] = _no_calls
    signs: Sequence[int] | None = None


@dataclass(frozen=True)
class Samples:
    """The result of a sampling run.

    Attributes:
        x: finished items in order, (n, *shape).
        nfe: network evaluations per item; the mean, rounded up, if they differ.
        history: residuals of the noisy states during sampling.
        calls: operator calls, over all parts of an interrupted run.
        seconds: wall time, over all parts of an interrupted run.
    """

    x: Tensor
    nfe: int
    history: tuple[Residual, ...]
    calls: int = 0
    seconds: float = 0.0


def run(job: Job, on_step: Callable[[StepInfo], None] = lambda info: None) -> Samples:
    """Sample every item of the job.

    Every finished batch is saved, and the state of the unfinished one every ``save_every`` steps,
    after ``SAVE_SECONDS``, and on an interrupt (Ctrl-C). The same job resumes with identical
    results. The state is left in place, to be removed after the results were written.

    Args:
        job: the sampling run.
        on_step: called after every step.

    Raises:
        MedscoreError: a sample became NaN or diverged, or the saved state belongs to another job.
    """
    state = ItemFolder(job.state, job.fingerprint, job.note) if job.state else None
    progress = load_progress(state) if state else Progress()
    _check_fits(job, progress)
    items = list(range(len(job.seeds)))
    chunks = [items[i : i + job.batch_size] for i in range(0, len(items), job.batch_size)]
    done, point, steps = list(progress.done), progress.point, len(job.times) - 1
    saved = time.monotonic()
    try:
        with torch.no_grad():
            for number in range(len(done), len(chunks)):
                walk = _Walk(job, number, chunks[number], point)
                for point in walk.steps():
                    on_step(
                        StepInfo(number * steps + point.step, len(chunks) * steps, walk.counted.nfe)
                    )
                    waited = time.monotonic() - saved > SAVE_SECONDS
                    if state and (waited or point.step % job.save_every == 0):
                        save_point(state, point)
                        saved = time.monotonic()
                assert point is not None
                done.append(walk.end(point))
                point = None
                if state:
                    save_batch(state, number, done[-1])
    except KeyboardInterrupt:
        if state and point is not None:
            save_point(state, point)
        raise
    spent = [batch.spent for batch in done]
    return Samples(
        x=torch.cat([batch.x for batch in done]),
        nfe=_per_sample(sum(each.evaluations for each in spent), len(items)),
        history=tuple(chain.from_iterable(each.history for each in spent)),
        calls=sum(each.calls for each in spent),
        seconds=sum(each.seconds for each in spent),
    )


class _Walk:
    """The steps of one batch along the time grid; each step yields the state of the batch."""

    def __init__(self, job: Job, number: int, items: Sequence[int], start: Point | None) -> None:
        self.job, self.number, self.items, self.start = job, number, items, start
        self.before = Spent() if start is None else start.spent
        self.since, self.calls = time.perf_counter(), job.calls()
        self.batch = job.batches(items)
        self.counted = Counted(self.batch.prior, items=len(items), bf16=job.bf16)
        self.prior = self.batch.conditioner.prior(self.counted)
        sampler = self.batch.sampler.prepared(self.batch.prior.sde, job.times)
        self.sampler = self.batch.conditioner.sampler(sampler)
        self.grid = job.times.to(job.device)
        if start is not None:
            compute_kept(self.batch.conditioner)
            self.calls = job.calls()  # those of the preparation were counted before
            self.counted.evaluations = start.spent.evaluations

    def steps(self) -> Iterator[Point]:
        """Step from the saved point, or from a draw of noise, to the end of the time grid."""
        job, sampler = self.job, self.sampler
        signs = None if job.signs is None else [job.signs[i] for i in self.items]
        noise = Noise([job.seeds[i] for i in self.items], signs)
        history = self.before.history
        if (point := self.start) is None:
            blank = torch.zeros(len(self.items), *job.shape, device=job.device)
            x = self.prior.sde.prior_sample(noise(blank))
            memory, first = sampler.init(x), 0
        else:
            x, first = point.x.to(job.device), point.step
            memory = {k: v.to(job.device) for k, v in point.memory.items()}
            restore_noise(noise, point, job.state)
            if first == len(self.grid) - 1:
                yield point
        for step in range(first, len(self.grid) - 1):
            t, s = (self.grid[i].expand(len(self.items)) for i in (step, step + 1))
            x, memory = sampler.step(self.prior, x, t, s, noise, memory)
            watch(self.prior.sde, x, s, step + 1, self.items, history)
            if (step + 1) % job.save_every == 0 and self.batch.residual is not None:
                worst = float(self.batch.residual(x).max())
                history = (*history, Residual(self.number, step + 1, worst))
            spent = self.spent(history)
            yield Point(self.number, x, memory, noise.state(), step + 1, spent)

    def end(self, point: Point) -> Finished:
        """Denoise and finish the batch; its result is on the CPU."""
        x = point.x.to(self.job.device)
        if self.job.denoise:
            x = self.prior.denoise(x, self.grid[-1].expand(len(self.items)))
        return Finished(self.batch.finish(x).cpu(), self.spent(point.spent.history))

    def spent(self, history: tuple[Residual, ...]) -> Spent:
        """The cost of the batch so far."""
        return Spent(
            self.counted.evaluations,
            self.before.calls + self.job.calls() - self.calls,
            self.before.seconds + time.perf_counter() - self.since,
            history,
        )


def _check_fits(job: Job, progress: Progress) -> None:
    """Reject saved progress whose arrays do not fit the job."""
    done = [batch.x for batch in progress.done]
    todo = len(job.seeds) - sum(len(x) for x in done)
    shapes = [x.shape[1:] for x in done]
    fits = todo >= 0
    if (point := progress.point) is not None:
        shapes.append(point.x.shape[1:])
        expected = min(job.batch_size, todo)
        generator = torch.Generator().get_state()
        fits &= point.batch == len(done)
        fits &= len(point.x) == expected and point.noise.dtype == generator.dtype
        fits &= point.noise.shape == (expected, len(generator))
        fits &= 0 < point.step < len(job.times)
    if not fits or any(shape != job.shape for shape in shapes):
        raise MedscoreError(
            "the saved state does not fit the run", where=job.state or "memory", hint="remove it"
        )

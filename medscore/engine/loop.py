"""The sampling loop: time steps, evaluation counts, detection of divergence, resumption.

Every item of a job, a sample of a slice, has its own noise generator. Items are grouped into
batches only for speed, so results do not depend on the batch size.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from medscore.engine.items import ItemFolder
from medscore.engine.job import Job
from medscore.engine.resume import (
    Progress,
    Residual,
    load_progress,
    save_batch,
    save_point,
)
from medscore.engine.walk import Walk
from medscore.errors import MedscoreError
from medscore.priors.counted import _per_sample

SAVE_SECONDS = 60.0
"""Time after which the state of an unfinished batch is saved, also between the steps at which it is
saved anyway: a step of a large volume takes minutes."""


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
                walk = Walk(job, number, chunks[number], point)
                for point in walk.steps():
                    on_step(
                        StepInfo(number * steps + point.step, len(chunks) * steps, walk.counted.nfe)
                    )
                    if state is None:
                        continue
                    waited = job.group.agreed(time.monotonic() - saved > SAVE_SECONDS)
                    if waited or point.step % job.save_every == 0:
                        whole = walk.whole(point)
                        if job.group.rank == 0:
                            save_point(state, whole)
                        saved = time.monotonic()
                assert point is not None
                done.append(walk.end(point))
                point = None
                if state and job.group.rank == 0:
                    save_batch(state, number, done[-1])
    except KeyboardInterrupt:
        if state and point is not None and job.group.size == 1:  # others may be at another step
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

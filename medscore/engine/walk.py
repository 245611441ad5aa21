"""The steps of one batch along the time grid."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import torch

from medscore.engine.divergence import watch
from medscore.engine.job import Job
from medscore.engine.resume import (
    Finished,
    Point,
    Residual,
    Spent,
    compute_kept,
    restore_noise,
)
from medscore.priors.counted import Counted
from medscore.white_noise import Noise


class Walk:
    """The steps of one batch along the time grid; each step yields the state of the batch.

    Args:
        job: the sampling run.
        number: number of the batch, from 0.
        chunk: its items, of which this process may have a part.
        start: the saved state of the batch; None to start from noise.
    """

    def __init__(self, job: Job, number: int, chunk: Sequence[int], start: Point | None) -> None:
        rows = job.share(len(chunk))
        self.job, self.number, self.chunk, self.items = job, number, chunk, chunk[rows]
        self.start = None if start is None else start.part(rows)
        items, start = self.items, self.start
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
            watch(self.prior.sde, x, s, step + 1, self.chunk, history, job.gather)
            if (step + 1) % job.save_every == 0 and self.batch.residual is not None:
                worst = float(job.gather(self.batch.residual(x)).max())
                history = (*history, Residual(self.number, step + 1, worst))
            spent = self.spent(history)
            yield Point(self.number, x, memory, noise.state(), step + 1, spent)

    def whole(self, point: Point) -> Point:
        """The state of the batch in all processes.

        Args:
            point: its state in this process.
        """
        return point.of_all(self.job.gather)

    def end(self, point: Point) -> Finished:
        """Denoise and finish the batch; its result, of all processes, is on the CPU.

        Args:
            point: the state after the last step, in this process.
        """
        x = point.x.to(self.job.device)
        if self.job.denoise:
            x = self.prior.denoise(x, self.grid[-1].expand(len(self.items)))
        spent = self.spent(point.spent.history).of_all(self.job.gather)
        return Finished(self.job.gather(self.batch.finish(x)).cpu(), spent)

    def spent(self, history: tuple[Residual, ...]) -> Spent:
        """The cost of the batch so far.

        Args:
            history: residuals so far.
        """
        return Spent(
            self.counted.evaluations,
            self.before.calls + self.job.calls() - self.calls,
            self.before.seconds + time.perf_counter() - self.since,
            history,
        )

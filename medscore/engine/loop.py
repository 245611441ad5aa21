"""The sampling loop: time steps, evaluation counts, detection of divergence, resumption.

Every item of a job, a sample of a slice, has its own noise generator. Items are grouped into
batches only for speed, so results do not depend on the batch size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from medscore.conditioners.base import Conditioner
from medscore.engine.resume import Point, Progress, Residual, load_progress, save_progress
from medscore.errors import MedscoreError
from medscore.priors.base import Prior
from medscore.priors.counted import Counted, _per_sample
from medscore.samplers.base import Sampler
from medscore.sdes.base import SDE
from medscore.types import State
from medscore.white_noise import Noise

UNCONDITIONAL = Conditioner()


def _unchanged(x: State) -> State:
    """Return the state unchanged.

    Args:
        x: finished items, (batch, ...).
    """
    return x


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
        state: file that keeps an interrupted run; None to keep none.
        fingerprint: identifies the job; a state of another job is refused.
        save_every: number of steps between saves of the state, and between entries of the history.
        denoise: whether to end with Tweedie's denoised image, which takes one more evaluation
            (Song 2022, B.5.7); otherwise the result is the state at the last time, which still
            contains the noise of that time.
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
    save_every: int = 20
    denoise: bool = True


@dataclass(frozen=True)
class Samples:
    """The result of a sampling run.

    Attributes:
        x: finished items in order, (n, *shape).
        nfe: network evaluations per item; the mean, rounded up, if they differ.
        history: residuals of the noisy states during sampling.
    """

    x: Tensor
    nfe: int
    history: tuple[Residual, ...]


def run(job: Job, on_step: Callable[[StepInfo], None] = lambda info: None) -> Samples:
    """Sample every item of the job.

    The progress is saved every ``save_every`` steps and on an interrupt (Ctrl-C). The same job
    resumes it with identical results, and removes the file at its end.

    Args:
        job: the sampling run.
        on_step: called after every step.

    Raises:
        MedscoreError: a sample became NaN or diverged, or the saved state belongs to another job.
    """
    progress = load_progress(job.state, job.fingerprint) if job.state else Progress()
    _check_fits(job, progress)
    items = list(range(len(job.seeds)))
    chunks = [items[i : i + job.batch_size] for i in range(0, len(items), job.batch_size)]
    steps = len(job.times) - 1
    try:
        with torch.no_grad():
            for number in range(len(progress.done), len(chunks)):
                walk = _Walk(job, chunks[number], progress)
                for progress in walk.steps():
                    assert progress.point is not None
                    done = number * steps + progress.point.step
                    on_step(StepInfo(done, len(chunks) * steps, walk.counted.nfe))
                    if progress.point.step % job.save_every == 0:
                        _save(job, progress)
                result, spent = walk.end(progress)
                spent += progress.evaluations
                progress = Progress((*progress.done, result), progress.history, None, spent)
                if number + 1 < len(chunks):
                    _save(job, progress)
    except KeyboardInterrupt:
        _save(job, progress)
        raise
    if job.state is not None:
        job.state.unlink(missing_ok=True)
    nfe = _per_sample(progress.evaluations, len(items))
    return Samples(torch.cat(progress.done), nfe, progress.history)


class _Walk:
    """The steps of one batch along the time grid; each step yields the complete progress."""

    def __init__(self, job: Job, items: Sequence[int], start: Progress) -> None:
        self.job, self.items, self.start = job, items, start
        self.batch = job.batches(items)
        self.counted = Counted(self.batch.prior, items=len(items), bf16=job.bf16)
        self.prior = self.batch.conditioner.prior(self.counted)
        sampler = self.batch.sampler.prepared(self.batch.prior.sde, job.times)
        self.sampler = self.batch.conditioner.sampler(sampler)
        self.grid = job.times.to(job.device)

    def steps(self) -> Iterator[Progress]:
        """Step from the saved point, or from a draw of noise, to the end of the time grid."""
        job, progress, sampler = self.job, self.start, self.sampler
        noise = Noise([job.seeds[i] for i in self.items])
        if (point := progress.point) is None:
            blank = torch.zeros(len(self.items), *job.shape, device=job.device)
            x = self.prior.sde.prior_sample(noise(blank))
            memory, first = sampler.init(x), 0
        else:
            x, first = point.x.to(job.device), point.step
            memory = {k: v.to(job.device) for k, v in point.memory.items()}
            noise.restore(point.noise)
            self.counted.evaluations = point.evaluations
            if first == len(self.grid) - 1:
                yield progress
        for step in range(first, len(self.grid) - 1):
            t, s = (self.grid[i].expand(len(self.items)) for i in (step, step + 1))
            x, memory = sampler.step(self.prior, x, t, s, noise, memory)
            history = progress.history
            _watch(self.prior.sde, x, s, step + 1, self.items, history)
            if (step + 1) % job.save_every == 0 and self.batch.residual is not None:
                worst = float(self.batch.residual(x).max())
                history = (*history, Residual(len(progress.done), step + 1, worst))
            at = Point(x, memory, noise.state(), step + 1, self.counted.evaluations)
            progress = replace(progress, history=history, point=at)
            yield progress

    def end(self, progress: Progress) -> tuple[Tensor, int]:
        """Denoise and finish the batch; returns the result on the CPU and the evaluations spent."""
        assert progress.point is not None
        x = progress.point.x.to(self.job.device)
        if self.job.denoise:
            x = self.prior.denoise(x, self.grid[-1].expand(len(self.items)))
        return self.batch.finish(x).cpu(), self.counted.evaluations


def _check_fits(job: Job, progress: Progress) -> None:
    """Reject saved progress whose arrays do not fit the job."""
    todo = len(job.seeds) - sum(len(done) for done in progress.done)
    shapes = [done.shape[1:] for done in progress.done]
    fits = todo >= 0
    if (point := progress.point) is not None:
        shapes.append(point.x.shape[1:])
        expected = min(job.batch_size, todo)
        generator = torch.Generator().get_state()
        fits &= len(point.x) == expected and point.noise.dtype == generator.dtype
        fits &= point.noise.shape == (expected, len(generator))
        fits &= 0 < point.step < len(job.times)
    if not fits or any(shape != job.shape for shape in shapes):
        raise MedscoreError(
            "the saved state does not fit the run", where=job.state or "memory", hint="remove it"
        )


def _save(job: Job, progress: Progress) -> None:
    if job.state is not None:
        save_progress(job.state, job.fingerprint, progress)


def _watch(
    sde: SDE,
    x: Tensor,
    s: Tensor,
    step: int,
    items: Sequence[int],
    history: Sequence[Residual],
) -> None:
    """Stop a batch that is not finite, or 20 times larger than data with noise."""
    size = x.flatten(1).square().mean(1).sqrt()
    limit = 20 * torch.sqrt(sde.alpha(s) ** 2 + sde.sigma(s) ** 2)
    if not bool((size <= limit).all()):
        worst = int((~(size <= limit)).nonzero()[0, 0])
        last = f"; last residual {history[-1].value:.3g}" if history else ""
        raise MedscoreError(
            f"sample {items[worst]} has root mean square {float(size[worst]):.3g} after step "
            f"{step}, the limit is {float(limit[worst]):.3g}{last}",
            hint="the sampler diverged: use more `steps`, another `grid` or `sampler`, or smaller "
            "steps of the conditioner or corrector",
        )

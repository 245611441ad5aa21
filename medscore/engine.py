"""The one loop: walk a batch down the time grid, count evaluations, watch for trouble, resume.

The items of a job (slice, sample) are drawn with a noise generator each and grouped in batches only
for speed, so results do not depend on the batch size.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.files import atomic_write
from medscore.noise import Noise
from medscore.prior import Prior
from medscore.samplers.base import Memory, Sampler
from medscore.sde import SDE
from medscore.types import State, Times


@final
class Counted(Prior):
    """A prior that counts its evaluations (NFE)."""

    def __init__(self, prior: Prior) -> None:
        self.inner, self.sde, self.nfe = prior, prior.sde, 0

    def denoise(self, x: State, t: Times) -> State:
        self.nfe += 1
        return self.inner.denoise(x, t)


@dataclass(frozen=True)
class StepInfo:
    """What a progress display may show after a step: done of total steps, NFE of this batch."""

    done: int
    total: int
    nfe: int


@dataclass(frozen=True)
class Residual:
    """The largest |y - A x| / |y| in a batch after a step."""

    batch: int
    step: int
    value: float


@dataclass(frozen=True)
class Batch:
    """The pair to sample a batch with, and what to do with its result.

    Attributes:
        prior, sampler: conditioned or not.
        finish: after the Tweedie denoise, e.g. the exact data-consistency step.
        residual: distance of a state from the measurements, one per item, for the history.
    """

    prior: Prior
    sampler: Sampler
    finish: Callable[[State], State] = lambda x: x
    residual: Callable[[State], Tensor] | None = None


@dataclass(frozen=True)
class Job:
    """A sampling run.

    Attributes:
        seeds: one per item. shape: of an item, (channel, H, W) or (D,).
        times: decreasing grid from 1 to the SDE's eps.
        batches: makes the pair for the items with the given indices.
        batch_size: items walked together.
        state: file for an interrupted run's state; ``None`` to keep none.
        fingerprint: identifies the job; a state of another job is refused.
        save_every: steps between saves of the state, and between entries of the history.
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


@dataclass(frozen=True)
class Samples:
    """Finished items (n, *shape) in order, the NFE each took, and the residual history."""

    x: Tensor
    nfe: int
    history: tuple[Residual, ...]


@dataclass
class _State:
    """Everything a resumed run needs."""

    done: list[Tensor]
    history: list[Residual]
    x: Tensor | None = None
    step: int = 0
    nfe: int = 0
    noise: Tensor | None = None
    memory: Memory | None = None


def run(job: Job, on_step: Callable[[StepInfo], None] = lambda info: None) -> Samples:
    """Sample every item of the job.

    The state is saved every ``save_every`` steps and on an interrupt (Ctrl-C); the same job picks
    it up and goes the same way. When the job ends the state file is removed.

    Raises:
        MedscoreError: a sample turned NaN or diverged (with the step and its size), or the state
            file is of another job.
    """
    state = _load(job)
    steps = len(job.times) - 1
    items = list(range(len(job.seeds)))
    chunks = [items[i : i + job.batch_size] for i in range(0, len(items), job.batch_size)]
    with torch.no_grad():
        for number in range(len(state.done), len(chunks)):
            try:
                result = _walk(
                    job,
                    chunks[number],
                    state,
                    lambda s, number=number: on_step(  # type: ignore[misc]
                        StepInfo(number * steps + s.step, len(chunks) * steps, s.nfe)
                    ),
                )
            except KeyboardInterrupt:
                _save(job, state)
                raise
            state = _State([*state.done, result], state.history, nfe=state.nfe)
            if number + 1 < len(chunks):
                state.nfe = 0
                _save(job, state)
    if job.state is not None:
        job.state.unlink(missing_ok=True)
    return Samples(torch.cat(state.done), state.nfe, tuple(state.history))


def _walk(
    job: Job, items: Sequence[int], state: _State, on_step: Callable[[_State], None]
) -> Tensor:
    """One batch from its state to the end of the grid, Tweedie's denoise and the finish."""
    batch = job.batches(items)
    prior = Counted(batch.prior)
    prior.nfe = state.nfe
    noise = Noise([job.seeds[i] for i in items])
    if state.x is None:
        blank = torch.zeros(len(items), *job.shape, device=job.device)
        state.x = prior.sde.prior_sample(noise(blank))
        state.memory = batch.sampler.init(state.x)
    else:
        state.x = state.x.to(job.device)
        assert state.noise is not None
        noise.restore(state.noise)
    device_type = torch.device(job.device).type
    memory = state.memory or {}
    grid = job.times.to(job.device)
    with torch.autocast(device_type, torch.bfloat16, enabled=job.bf16):
        for step in range(state.step, len(grid) - 1):
            t, s = grid[step].expand(len(items)), grid[step + 1].expand(len(items))
            x, memory = batch.sampler.step(prior, state.x, t, s, noise, memory)
            _watch(prior.sde, x, s, step + 1, items, state.history)
            state.x, state.memory, state.noise = x, memory, noise.state()
            state.step, state.nfe = step + 1, prior.nfe
            due = state.step % job.save_every == 0
            if due and batch.residual is not None:
                worst = float(batch.residual(state.x).max())
                state.history.append(Residual(len(state.done), state.step, worst))
            on_step(state)
            if due:
                _save(job, state)
        x0 = prior.denoise(state.x, grid[-1].expand(len(items)))
    state.nfe = prior.nfe
    return batch.finish(x0).cpu()


def _watch(
    sde: SDE,
    x: Tensor,
    s: Tensor,
    step: int,
    items: Sequence[int],
    history: Sequence[Residual],
) -> None:
    """Stop a batch that is not finite, or 20 times larger than data plus noise can be."""
    size = x.flatten(1).square().mean(1).sqrt()
    limit = 20 * torch.sqrt(sde.alpha(s) ** 2 + sde.sigma(s) ** 2)
    if not bool((size <= limit).all()):
        worst = int((~(size <= limit)).nonzero()[0, 0])
        last = f"; last residual {history[-1].value:.3g}" if history else ""
        raise MedscoreError(
            f"sample {items[worst]} has root mean square {float(size[worst]):.3g} after step "
            f"{step}, at most {float(limit[worst]):.3g} is possible{last}",
            mend="the sampler diverged: use more --steps or a smaller --snr",
        )


def _save(job: Job, state: _State) -> None:
    if job.state is None:
        return
    tensors = {f"done.{i}": value for i, value in enumerate(state.done)}
    if state.x is not None and state.noise is not None:
        tensors |= {"x": state.x, "noise": state.noise}
        tensors |= {f"memory.{k}": v for k, v in (state.memory or {}).items()}
    cpu = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    header = {
        "fingerprint": job.fingerprint,
        "step": str(state.step),
        "nfe": str(state.nfe),
        "history": json.dumps([asdict(entry) for entry in state.history]),
    }
    atomic_write(job.state, save(cpu, metadata=header))


def _load(job: Job) -> _State:
    if job.state is None or not job.state.exists():
        return _State([], [])
    try:
        with safe_open(job.state, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise MedscoreError(
            f"the saved state cannot be read ({error})", where=job.state, mend="remove it"
        ) from error
    if header.get("fingerprint") != job.fingerprint:
        raise MedscoreError(
            "the saved state is of a run with other settings or input",
            where=job.state,
            mend="repeat that run to finish it, or remove the file",
        )
    finished = sum(name.startswith("done.") for name in tensors)
    return _State(
        done=[tensors[f"done.{i}"] for i in range(finished)],
        history=[Residual(**entry) for entry in json.loads(header["history"])],
        x=tensors.get("x"),
        step=int(header["step"]) if "x" in tensors else 0,
        nfe=int(header["nfe"]) if "x" in tensors else 0,
        noise=tensors.get("noise"),
        memory={
            k.removeprefix("memory."): v for k, v in tensors.items() if k.startswith("memory.")
        },
    )

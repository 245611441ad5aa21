"""A sampling run: its items, and the methods that sample a batch of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from medscore.conditioners.base import Conditioner
from medscore.io.group import ALONE, Group
from medscore.priors.base import Prior
from medscore.samplers.base import Sampler
from medscore.types import State

UNCONDITIONAL = Conditioner()


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
        group: the processes that run the job, which all get the results; the first one saves.
        split: whether each process of the group has a part of every batch; otherwise each works on
            all of it, and they share work elsewhere.
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
    group: Group = ALONE
    split: bool = True

    def share(self, count: int) -> slice:
        """The items of a batch that this process works on.

        Args:
            count: number of items of the batch.
        """
        return self.group.share(count) if self.split else slice(0, count)

    def gather(self, part: Tensor) -> Tensor:
        """The items of all processes that work on a batch.

        Args:
            part: the items of this process, (items, ...).
        """
        return self.group.gather(part) if self.split else part

"""Random draws of a sampler: one generator per sample, so a batch of n equals n runs of one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medscore.types import State, Times


class Noise:
    """Standard normal draws for a batch, made on the CPU whatever the device.

    Args:
        seeds: one per sample.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, like: State) -> State:
        """Independent N(0, 1) in the shape, dtype and device of ``like`` (batch, ...)."""
        draws = [torch.randn(like.shape[1:], generator=g) for g in self.generators]
        return torch.stack(draws).to(like)

    def uniform(self, like: State) -> Times:
        """A draw in [0, 1) for each sample, in dtype and device of ``like``."""
        return torch.stack([torch.rand((), generator=g) for g in self.generators]).to(like)

    def state(self) -> Tensor:
        """The generators' states, (batch, bytes) uint8, for a checkpoint."""
        return torch.stack([g.get_state() for g in self.generators])

    def restore(self, state: Tensor) -> None:
        """Continue from what :meth:`state` returned."""
        for generator, saved in zip(self.generators, state, strict=True):
            generator.set_state(saved.clone())


def derive_seed(*parts: int) -> int:
    """One well-mixed 63-bit seed from several numbers (splitmix64), e.g. (seed, slice, sample)."""
    mask, state = (1 << 64) - 1, 0
    for part in parts:
        state = (state ^ (part & mask)) + 0x9E3779B97F4A7C15 & mask
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask
        state ^= state >> 31
    return state >> 1


def seeds_from(u: Times, *parts: int) -> list[int]:
    """A seed for each sample of its uniform draw in [0, 1), for what else is random about it."""
    return [derive_seed(int(value * 2**53), *parts) for value in u.tolist()]

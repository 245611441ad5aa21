"""White noise with one generator per sample, so a batch of n equals n runs of a single sample."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medscore.types import State, Times


class Noise:
    """Standard normal noise for a batch, drawn on the CPU for every device.

    Args:
        seeds: seed of each sample.
        signs: 1 or -1 for each sample, which its noise is multiplied by; all 1 by default.
    """

    def __init__(self, seeds: Sequence[int], signs: Sequence[int] | None = None) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.signs = [1] * len(seeds) if signs is None else list(signs)

    def __call__(self, like: State) -> State:
        """Draw independent N(0, 1) values.

        Args:
            like: a batch with the shape, dtype and device of the result, (batch, ...).
        """
        each = zip(self.generators, self.signs, strict=True)
        draws = [sign * torch.randn(like.shape[1:], generator=g) for g, sign in each]
        return torch.stack(draws).to(like)

    def uniform(self, like: State) -> Times:
        """Draw one uniform value in [0, 1) for each sample.

        Args:
            like: a batch with the dtype and device of the result.
        """
        return torch.stack([torch.rand((), generator=g) for g in self.generators]).to(like)

    def state(self) -> Tensor:
        """The states of the generators, (batch, bytes) uint8, for saving."""
        return torch.stack([g.get_state() for g in self.generators])

    def restore(self, state: Tensor) -> None:
        """Continue from saved states.

        Args:
            state: the states that :meth:`state` returned.
        """
        for generator, saved in zip(self.generators, state, strict=True):
            generator.set_state(saved.clone())


def derive_seed(*parts: int) -> int:
    """A 63-bit seed from several numbers, mixed by splitmix64.

    Args:
        parts: numbers such as seed, slice and sample.
    """
    mask, state = (1 << 64) - 1, 0
    for part in parts:
        state = (state ^ (part & mask)) + 0x9E3779B97F4A7C15 & mask
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask
        state ^= state >> 31
    return state >> 1


def seeds_from(u: Times, *parts: int) -> list[int]:
    """A seed for each sample from its uniform draw, for further random numbers.

    Args:
        u: uniform draws in [0, 1), (batch,).
        parts: further numbers to mix in.
    """
    return [derive_seed(int(value * 2**53), *parts) for value in u.tolist()]

"""A prior that counts its network evaluations (NFE)."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch

from medscore.priors.base import Prior
from medscore.types import State, Times


@final
class Counted(Prior):
    """A prior that counts its evaluations (NFE), in bf16 autocast on request.

    Only the network's call is autocast: samplers, conditioners and operators keep float32. It
    counts what the network is asked, so a conditioner that asks it twice is charged twice; a
    backward pass through it is not counted.

    Args:
        items: samples walked together, so that a sampler that takes them one by one is not
            charged for each; by default as many as the first call evaluates.
        tell: called with the NFE before every evaluation.
    """

    def __init__(
        self,
        prior: Prior,
        *,
        items: int | None = None,
        bf16: bool = False,
        tell: Callable[[int], None] = lambda nfe: None,
    ) -> None:
        self.inner, self.sde, self.items, self.bf16 = prior, prior.sde, items, bf16
        self.tell, self.evaluations = tell, 0

    @property
    def nfe(self) -> int:
        """Evaluations per sample; where samples differ, their mean, rounded up."""
        return _per_sample(self.evaluations, self.items or 1)

    def denoise(self, x: State, t: Times) -> State:
        self.items = self.items or len(x)
        self.evaluations += len(x)
        self.tell(self.nfe)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bf16):
            return self.inner.denoise(x, t).to(x.dtype)


def _per_sample(evaluations: int, items: int) -> int:
    """The mean, rounded up."""
    return -(-evaluations // items)

"""A wrapper of a prior that counts its network evaluations (NFE)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import torch

from medscore.priors.base import Prior, like
from medscore.types import State, Times
from medscore.uncertainty.learned import LearnedCovariance


@final
class Counted(Prior):
    """A prior that counts its evaluations (NFE) and can run in bf16 autocast.

    Only the network runs in autocast; samplers, conditioners and operators stay in float32. Every
    forward pass counts, also several in one step; backward passes do not.

    Args:
        prior: the prior to wrap.
        items: number of samples in the batch, by which the evaluations of single samples are
            divided; by default the number of samples in the first call.
        bf16: whether the network runs in bf16 autocast.
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
        """Evaluations per sample; the mean over samples, rounded up, if they differ."""
        return _per_sample(self.evaluations, self.items or 1)

    @property
    def covariance(self) -> Callable[[State, Times], Any]:
        """The covariance that the prior computes itself, one evaluation; missing if it does not.

        Raises:
            AttributeError: the prior has no covariance.
        """
        inner: Any = self.inner
        own = inner.covariance

        def counted(x: State, t: Times) -> Any:
            self._count(x)
            with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bf16):
                return own(x, t)

        return counted

    @property
    def has_covariance(self) -> bool:
        return self.inner.has_covariance

    def denoise(self, x: State, t: Times) -> State:
        self._count(x)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bf16):
            found = self.inner.denoise(x, t)
        return like(x, found, f"`denoise` of the prior {type(self.inner).__name__}").to(x.dtype)

    def denoise_with_covariance(self, x: State, t: Times) -> tuple[State, LearnedCovariance]:
        self._count(x)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bf16):
            return self.inner.denoise_with_covariance(x, t)

    def _count(self, x: State) -> None:
        self.items = self.items or len(x)
        self.evaluations += len(x) * self.inner.evaluations_of_a_call
        self.tell(self.nfe)


def _per_sample(evaluations: int, items: int) -> int:
    """The mean number of evaluations per sample, rounded up."""
    return -(-evaluations // items)

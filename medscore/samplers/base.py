r"""The one sampler interface: :math:`x_s = h(x_t, z, s_\theta(x_t, t))` (Song 2022, Eq. 8.5).

A step goes from time t to s < t; a corrector is a step with s = t. A sampler that needs more than
the current point (multistep methods) keeps it in its memory, plain tensors by name, so that a run
can be saved and resumed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor

from medscore.priors.base import Prior
from medscore.types import State, Times
from medscore.white_noise import Noise

Memory = dict[str, Tensor]


class Sampler(ABC):
    """One iteration rule."""

    def init(self, x: State) -> Memory:
        """The memory before the first step."""
        return {}

    @abstractmethod
    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        """Go from x at time ``t`` to time ``s``; ``noise(x)`` draws what randomness it needs."""

    def map(self, wrap: Callable[[Sampler], Sampler]) -> Sampler:
        """``wrap`` applied to each elementary step; a composition wraps its parts."""
        return wrap(self)

r"""The one sampler interface: :math:`x_s = h(x_t, z, s_\theta(x_t, t))` (Song 2022, Eq. 8.5).

A step goes from time t to s < t; a corrector is a step with s = t. A sampler that needs more than
the current point (multistep methods) keeps it in its memory, plain tensors by name, so that a run
can be saved and resumed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor

from medscore.parameters import check_fields
from medscore.priors.base import Prior
from medscore.sdes.base import SDE
from medscore.types import State, Times
from medscore.white_noise import Noise

Memory = dict[str, Tensor]


class Sampler(ABC):
    """One iteration rule; a frozen dataclass whose fields are its settings."""

    def __post_init__(self) -> None:
        """Check the settings; dataclasses call it.

        Raises:
            ValueError: a setting out of the range that its annotation states.
        """
        check_fields(self)

    def prepared(self, sde: SDE, times: Tensor) -> Sampler:
        """The sampler with the settings that depend on the time grid filled in.

        The engine calls it once before the first step. A composition prepares its parts.

        Args:
            sde: the forward diffusion of the prior.
            times: the decreasing time grid, (steps + 1,).
        """
        return self

    def init(self, x: State) -> Memory:
        """The memory before the first step.

        Args:
            x: the state at the first time, (batch, channel, ...).
        """
        return {}

    @abstractmethod
    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        """Go from ``x`` at time ``t`` to time ``s``; returns the new state and memory.

        Args:
            prior: the score model; one call is one network evaluation (NFE).
            x: the state at time t, (batch, channel, ...).
            t: current times, (batch,).
            s: times to go to, (batch,); s <= t.
            noise: draws white noise in the shape of its argument.
            memory: what the last step returned, or :meth:`init`.
        """

    def map(self, wrap: Callable[[Sampler], Sampler]) -> Sampler:
        """Wrap each elementary step; a composition wraps its parts.

        Args:
            wrap: maps an elementary sampler to a sampler.
        """
        return wrap(self)

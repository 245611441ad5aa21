r"""The interface of a sampler: :math:`x_s = h(x_t, z, s_\theta(x_t, t))` (Song 2022, Eq. 8.5).

A step goes from time t to s < t; a corrector is a step with s = t. Multistep methods keep earlier
values in a memory of named tensors, which is saved with the state so that a run can be resumed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from inspect import isclass

from torch import Tensor

from medscore.errors import MedscoreError
from medscore.parameters import NamedParameters, check_fields
from medscore.priors.base import Prior
from medscore.sdes.base import SDE
from medscore.types import State, Times
from medscore.white_noise import Noise

Memory = dict[str, Tensor]


class Sampler(NamedParameters, ABC):
    """An iteration rule; each is a frozen dataclass whose fields are its settings."""

    def __post_init__(self) -> None:
        """Check the settings; called by the dataclass constructor.

        Raises:
            MedscoreError: a setting outside the type or range of its annotation.
        """
        check_fields(self)

    def prepared(self, sde: SDE, times: Tensor) -> Sampler:
        """The sampler with all settings that depend on the time grid.

        The engine calls it once before the first step. Composite samplers prepare their parts.

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
        """Advance the state from time ``t`` to time ``s``.

        Args:
            prior: the score model; one call is one network evaluation (NFE).
            x: the state at time t, (batch, channel, ...).
            t: current times, (batch,).
            s: times to go to, (batch,); s <= t.
            noise: draws white noise in the shape of its argument.
            memory: the memory that the previous step, or :meth:`init`, returned.

        Returns:
            The new state and memory.
        """

    def map(self, wrap: Callable[[Sampler], Sampler]) -> Sampler:
        """Wrap every elementary step; composite samplers wrap their parts.

        Args:
            wrap: maps an elementary sampler to a sampler.
        """
        return wrap(self)


def sampler_object(sampler: object) -> Sampler:
    """A sampler given as an object, or as a class, which stands for its default settings.

    Args:
        sampler: a sampler, such as ``DDIM(eta=1)``, or a class whose settings have defaults.

    Raises:
        MedscoreError: it is neither, or the class has settings without a default.
    """
    if isclass(sampler) and issubclass(sampler, Sampler):
        try:
            return sampler()
        except TypeError as error:
            raise MedscoreError(
                f"`sampler` is the class {sampler.__name__}, which cannot be created without "
                "settings",
                hint=f"use an object, {sampler.__name__}(...)",
            ) from error
    if not isinstance(sampler, Sampler):
        raise MedscoreError(
            f"`sampler` is {sampler!r:.80}", hint="use a name, a Sampler object or its class"
        )
    return sampler

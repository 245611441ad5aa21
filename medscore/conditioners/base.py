r"""The interface of a conditioner: a map of priors and a map of samplers, by default the identity.

``prior -> prior`` is for methods that change the score or the denoised image, ``sampler ->
sampler`` for methods that change the state. In both cases every conditioner can be combined with
every sampler.

This module also has the maps that several methods share: a prior whose denoised image is refined
(:class:`Refined`), a prior whose score is guided (:class:`Guided`), and a prior that records its
first evaluation (:class:`Remembering`), for methods that correct the state with the denoised image.
Methods that change the state are functions that are called before every elementary step
(:func:`before`), after it (:func:`after`), or after it with the step's first denoised image
(:func:`corrected`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, final

from medscore.errors import MedscoreError
from medscore.parameters import NamedParameters, check_fields, check_value
from medscore.priors.base import Prior
from medscore.priors.derivative import differentiable
from medscore.samplers.base import Memory, Sampler
from medscore.sdes.base import expand
from medscore.types import State, Times
from medscore.white_noise import Noise

BATCH = ("operator", "y", "noise_std")
"""Fields of conditioners that are bound for each batch, and are no settings."""


class Conditioner(NamedParameters):
    """A data-consistency rule, k of Eq. 8.6, as a map of priors and a map of samplers."""

    def __post_init__(self) -> None:
        """Check the settings; called by the dataclass constructor.

        Raises:
            MedscoreError: a setting outside the type or range of its annotation.
        """
        check_fields(self)

    @classmethod
    def with_settings(cls, **settings: Any) -> Callable[..., Conditioner]:
        """This conditioner with given settings, not yet bound to an operator and measurements.

        Args:
            settings: fields of the class, such as ``zeta=0.3``.

        Raises:
            MedscoreError: a field that the class does not have, or an invalid value.
        """
        known = [name for name in inspect.signature(cls).parameters if name not in BATCH]
        if unknown := sorted(set(settings) - set(known)):
            raise MedscoreError(
                f"{cls.__name__} has no setting {', '.join(unknown)}",
                hint=f"it has {', '.join(known) or 'none'}",
            )
        for name, value in settings.items():
            check_value(cls, name, value)
        return partial(cls, **settings)

    def prior(self, prior: Prior) -> Prior:
        """The prior with its score or denoiser conditioned on the measurements.

        Args:
            prior: the unconditional prior.
        """
        return prior

    def sampler(self, sampler: Sampler) -> Sampler:
        """The sampler with steps that make its state consistent with the measurements.

        Args:
            sampler: the unconditional sampler.
        """
        return sampler


@final
class Refined(Prior):
    """A prior whose denoised image D is replaced by ``refine(D, x, t)``.

    Args:
        inner: the prior that computes D.
        refine: maps D, the state x and the times t to the refined image.
    """

    def __init__(self, inner: Prior, refine: Callable[[State, State, Times], State]) -> None:
        self.inner, self.sde, self.refine = inner, inner.sde, refine

    def denoise(self, x: State, t: Times) -> State:
        return self.refine(self.inner.denoise(x, t), x, t)


@final
class Guided(Prior):
    r"""A prior with a guidance term :math:`\nabla \log p_t(y | x)` added to its score (Eq. B.35).

    By Tweedie's formula its denoised image is :math:`D + \sigma^2 / \alpha` times the guidance.

    Args:
        inner: the prior that computes D.
        guidance: computes the guidance term from the state x and the times t.
    """

    def __init__(self, inner: Prior, guidance: Callable[[State, Times], State]) -> None:
        self.inner, self.sde, self.guidance = inner, inner.sde, guidance

    def denoise(self, x: State, t: Times) -> State:
        gain = expand(self.sde.sigma(t) ** 2 / self.sde.alpha(t), x)
        return self.inner.denoise(x, t) + gain * self.guidance(x, t)


@final
class Remembering(Prior):
    """A prior that records its first evaluation: the state, the times and the denoised image.

    A sampler step first evaluates the prior at the state that it starts from, so a method that
    corrects the step with that denoised image needs no further evaluation.

    Args:
        inner: the prior to evaluate.
        differentiable: whether to keep the graph from the state to the denoised image, for
            :func:`~medscore.priors.derivative.pull_back`.
    """

    def __init__(self, inner: Prior, *, differentiable: bool = False) -> None:
        self.inner, self.sde, self.differentiable = inner, inner.sde, differentiable
        self.seen: tuple[State, Times, State] | None = None

    def denoise(self, x: State, t: Times) -> State:
        if self.seen is not None:
            return self.inner.denoise(x, t)
        if x.requires_grad:  # the sampler differentiates the denoised image itself
            denoised = self.inner.denoise(x, t)
            kept = self.differentiable
            self.seen = (x, t, denoised) if kept else (x.detach(), t, denoised.detach())
            return denoised
        if self.differentiable:
            x, denoised = differentiable(self.inner, x, t)
        else:
            denoised = self.inner.denoise(x, t)
        self.seen = x, t, denoised
        return denoised.detach()

    def first(self, x: State, t: Times) -> tuple[State, Times, State]:
        """The recorded state, times and denoised image; evaluates the prior if there are none.

        Args:
            x: state to evaluate, (batch, ...).
            t: times, (batch,).
        """
        if self.seen is None:
            self.denoise(x, t)
        assert self.seen is not None
        return self.seen


Change = Callable[[Prior, State, Times, Noise], State]
"""Computes a new state from the prior, the state, its times and a source of noise."""

Seen = tuple[State, Times, State]
"""A state, its times and its denoised image."""

Correction = Callable[[Prior, Seen, State, Times, Noise], State]
"""Computes a new state from the prior, the step's first evaluation, the state, its times, noise."""


def before(sampler: Sampler, change: Change) -> Sampler:
    """A sampler that changes the state before every elementary step.

    Args:
        sampler: the unconditional sampler.
        change: called with the state at the time t that a step starts from.
    """
    return sampler.map(lambda part: _Before(part, change))


def after(sampler: Sampler, change: Change) -> Sampler:
    """A sampler that changes the state after every elementary step.

    Args:
        sampler: the unconditional sampler.
        change: called with the state at the time s that a step goes to.
    """
    return sampler.map(lambda part: _After(part, change))


def corrected(sampler: Sampler, correction: Correction, *, differentiable: bool = False) -> Sampler:
    """A sampler that corrects the state after every elementary step with the denoised image.

    Args:
        sampler: the unconditional sampler.
        correction: called with the step's first evaluation and the state at the time s.
        differentiable: whether the denoised image keeps its graph; see :class:`Remembering`.
    """
    return sampler.map(lambda part: _Corrected(part, correction, differentiable))


def drawing(sampler: Sampler, prior_with: Callable[[Prior, Noise], Prior]) -> Sampler:
    """A sampler that evaluates, in every elementary step, a prior that draws noise itself.

    Args:
        sampler: the unconditional sampler.
        prior_with: the prior of a step, from the prior and the step's source of noise.
    """
    return sampler.map(lambda part: _Drawing(part, prior_with))


@dataclass(frozen=True)
class _Wrapped(Sampler):
    """A sampler around another, with the memory of the inner one."""

    inner: Sampler

    def init(self, x: State) -> Memory:
        return self.inner.init(x)


@final
@dataclass(frozen=True)
class _Before(_Wrapped):
    change: Change

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        return self.inner.step(prior, self.change(prior, x, t, noise), t, s, noise, memory)


@final
@dataclass(frozen=True)
class _After(_Wrapped):
    change: Change

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        x, memory = self.inner.step(prior, x, t, s, noise, memory)
        return self.change(prior, x, s, noise), memory


@final
@dataclass(frozen=True)
class _Corrected(_Wrapped):
    correction: Correction
    differentiable: bool

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        seen = Remembering(prior, differentiable=self.differentiable)
        x_s, memory = self.inner.step(seen, x, t, s, noise, memory)
        return self.correction(prior, seen.first(x, t), x_s, s, noise), memory


@final
@dataclass(frozen=True)
class _Drawing(_Wrapped):
    prior_with: Callable[[Prior, Noise], Prior]

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        return self.inner.step(self.prior_with(prior, noise), x, t, s, noise, memory)

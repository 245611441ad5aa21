r"""The one conditioner interface: two arrows, each the identity unless a method needs it.

``prior -> prior`` serves methods that change the score or the denoised image; ``sampler ->
sampler`` serves methods that change the state. Either way any sampler works with any conditioner.

The arrows that several methods share are here: a prior whose denoised image is refined
(:class:`Refined`), one whose score is guided (:class:`Guided`), and a prior that remembers what a
step asked it (:class:`Remembering`), for methods that correct the state by what the denoiser said.
Methods on the state are a function before every elementary step (:func:`before`), after it
(:func:`after`), or after it with what was denoised in it at hand (:func:`corrected`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import torch
from torch import Tensor

from medscore.parameters import check_fields
from medscore.priors.base import Prior
from medscore.samplers.base import Memory, Sampler
from medscore.sdes.base import expand
from medscore.types import State, Times
from medscore.white_noise import Noise


class Conditioner:
    """A data-consistency rule, k of Eq. 8.6, as two arrows: on the prior and on the sampler."""

    def __post_init__(self) -> None:
        """Check the settings; dataclasses call it.

        Raises:
            ValueError: a setting out of the range that its annotation states.
        """
        check_fields(self)

    @classmethod
    def with_settings(cls, **settings: Any) -> Callable[..., Conditioner]:
        """This conditioner with settings, to be bound to an operator and measurements later.

        Args:
            settings: fields of the class, such as ``zeta=0.3``.

        Raises:
            TypeError: a field that the class does not have.
        """
        unknown = set(settings) - set(inspect.signature(cls).parameters)
        if unknown:
            raise TypeError(f"{cls.__name__} has no setting {', '.join(sorted(unknown))}")
        return partial(cls, **settings)

    def prior(self, prior: Prior) -> Prior:
        """The prior with its score or denoiser conditioned on the measurements.

        Args:
            prior: the unconditional prior.
        """
        return prior

    def sampler(self, sampler: Sampler) -> Sampler:
        """The sampler with steps that move its state towards the measurements.

        Args:
            sampler: the unconditional sampler.
        """
        return sampler


@final
class Refined(Prior):
    """A prior whose denoised image is ``refine(D, x, t)``, D being ``inner``'s."""

    def __init__(self, inner: Prior, refine: Callable[[State, State, Times], State]) -> None:
        self.inner, self.sde, self.refine = inner, inner.sde, refine

    def denoise(self, x: State, t: Times) -> State:
        return self.refine(self.inner.denoise(x, t), x, t)


@final
class Guided(Prior):
    r"""A prior with ``guidance(x, t)`` added to its score: :math:`\nabla \log p_t(y | x)` of B.35.

    By Tweedie's formula its denoised image is :math:`D + \sigma^2 / \alpha` times the guidance.
    """

    def __init__(self, inner: Prior, guidance: Callable[[State, Times], State]) -> None:
        self.inner, self.sde, self.guidance = inner, inner.sde, guidance

    def denoise(self, x: State, t: Times) -> State:
        gain = expand(self.sde.sigma(t) ** 2 / self.sde.alpha(t), x)
        return self.inner.denoise(x, t) + gain * self.guidance(x, t)


@final
class Remembering(Prior):
    """``inner``, and the first point it was asked about with its denoised image.

    That is the point a step starts from, so a method that corrects the step by the denoised image
    there costs no evaluation of its own.

    Args:
        differentiable: keep the graph from the point to the image, for :meth:`pull_back`.
    """

    def __init__(self, inner: Prior, *, differentiable: bool = False) -> None:
        self.inner, self.sde, self.differentiable = inner, inner.sde, differentiable
        self.seen: tuple[State, Times, State] | None = None

    def denoise(self, x: State, t: Times) -> State:
        if self.seen is not None:
            return self.inner.denoise(x, t)
        if self.differentiable:
            x, denoised = differentiable(self.inner, x, t)
        else:
            denoised = self.inner.denoise(x, t)
        self.seen = x, t, denoised
        return denoised.detach()

    def first(self, x: State, t: Times) -> tuple[State, Times, State]:
        """The first point, its time and its denoised image; those of (x, t) if none was asked."""
        if self.seen is None:
            self.denoise(x, t)
        assert self.seen is not None
        return self.seen


def differentiable(prior: Prior, x: State, t: Times) -> tuple[State, State]:
    """``x`` as a leaf of the graph, and the denoised image with its graph."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        return leaf, prior.denoise(leaf, t)


def pull_back(denoised: State, leaf: State, v: Tensor, *, keep: bool = False) -> State:
    r""":math:`(\partial D / \partial x)^T v`; the graph is freed unless ``keep``."""
    (product,) = torch.autograd.grad(denoised, leaf, v.to(denoised.dtype), retain_graph=keep)
    return product.to(leaf.dtype)


Change = Callable[[Prior, State, Times, Noise], State]
"""A new state from the prior, the state, its time and the noise to draw from."""

Seen = tuple[State, Times, State]
"""A point, its time and its denoised image."""

Correction = Callable[[Prior, Seen, State, Times, Noise], State]
"""A new state from the prior, what the step saw first, the state and its time, and noise."""


def before(sampler: Sampler, change: Change) -> Sampler:
    """``change`` on the state at t before every elementary step from t."""
    return sampler.map(lambda part: _Before(part, change))


def after(sampler: Sampler, change: Change) -> Sampler:
    """``change`` on the state at s after every elementary step to s."""
    return sampler.map(lambda part: _After(part, change))


def corrected(sampler: Sampler, correction: Correction, *, differentiable: bool = False) -> Sampler:
    """``correction`` after every elementary step; see :class:`Remembering`."""
    return sampler.map(lambda part: _Corrected(part, correction, differentiable))


@dataclass(frozen=True)
class _Wrapped(Sampler):
    """Its memory is the wrapped sampler's."""

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

r"""Moment-matching posterior sampling (Rozet et al. 2024; Boys et al. 2023).

The method is that of :mod:`~medscore.conditioners.pigdm`, but with the covariance of x_0 given x_t
that follows from the denoiser (second-order Tweedie formula, Song 2022, section 4.5, Eq. 4.18),

.. math:: V_t = \frac{\sigma^2}{\alpha} \frac{\partial D}{\partial x_t}, \qquad
          D' = D + V_t A^H (A V_t A^H + \sigma_y^2 I)^{-1} (y - A D).

If x_0 given x_t is Gaussian, D' is the mean of x_0 given x_t and y, so the method is exact for
Gaussian data. The inverse is approximated by conjugate gradients with one backward pass per step.

A prior with a learned covariance (:mod:`medscore.nets.covariance_head`) gives V_t together with D,
in the same evaluation. No backward pass is needed then. What is learned is the error on training
images; that on images of other patients is larger, by a factor ``inflation``. For line integrals,
A V_t A^H is close to a matrix that is easy to invert (:mod:`medscore.operators.gram`), which
preconditions the conjugate gradients.

A step that replaces x_0 by its mean lacks the spread of x_0 given x_t and y, which matters for few
steps. With ``draws``, x_0 is drawn instead (Papandreou and Yuille 2010): for e from N(0, V_t) and n
from N(0, sigma_y^2 I), D + e takes the place of D, and y + n that of y, at no further cost. Samples
of Gaussian data are then exact with any number of steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias, final

import torch
from torch import Tensor

from medscore.conditioners.base import Conditioner, drawing
from medscore.errors import MedscoreError
from medscore.operators.base import Operator
from medscore.operators.gram import Gram, damped_by_rows
from medscore.operators.linalg import wide
from medscore.parameters import Count, NonNegative, Positive
from medscore.priors.base import Prior
from medscore.priors.derivative import differentiable, pull_back
from medscore.samplers.base import Sampler
from medscore.sdes.base import expand
from medscore.types import State, Times
from medscore.uncertainty.learned import LearnedCovariance
from medscore.white_noise import Noise

Product: TypeAlias = Callable[[Tensor], Tensor]

LEAST = 1e-3
"""The smallest mean variance along a ray, relative to the largest, in the preconditioner."""


@final
@dataclass(frozen=True)
class MomentMatching(Conditioner):
    """Guidance with the covariance of x_0 given x_t.

    The covariance of the denoiser takes ``iterations`` + 1 backward passes for each evaluation, a
    learned one none.

    Args:
        operator: A, acting on images in the prior's range.
        y: measurements on the full grid, one per sample.
        noise_std: standard deviation sigma_y of each measured number; 0 for noise-free data.
        iterations: largest number of conjugate-gradient steps, with one backward pass each unless
            the covariance is learned.
        floor: sigma_y relative to |A| that noise-free measurements are given.
        covariance: ``denoiser`` for the Jacobian of the denoiser, ``learned`` for the prior's
            second output, or ``auto`` for the latter if the prior has one.
        inflation: factor on a learned covariance.
        tolerance: relative residual at which the conjugate gradients end.
        draws: whether each step takes x_0 from the Gaussian of x_0 given x_t and y instead of its
            mean; needs a covariance that the prior knows, and a sampler with noise, such as DDIM.
    """

    operator: Operator
    y: Tensor
    noise_std: NonNegative = 0.0
    iterations: Count = 3
    floor: NonNegative = 1e-2
    covariance: Literal["auto", "denoiser", "learned"] = "auto"
    inflation: Positive = 1.0
    tolerance: NonNegative = 1e-6
    draws: bool = False

    @cached_property
    def variance(self) -> Tensor:
        """The noise variance sigma_y^2 for each sample, without noise the floor's, (batch,)."""
        if self.noise_std > 0:
            return torch.full_like(self.y.flatten(1)[:, 0].abs(), self.noise_std**2)
        return self.floor**2 * self.operator.norm_squared(self.y)

    @cached_property
    def gram(self) -> Gram | None:
        """The approximation of A A^H, if one is known."""
        return self.operator.gram(self.y)

    @cached_property
    def lengths(self) -> Tensor:
        """A times an image of ones: the sums of the weights of each measured number."""
        like = self.operator.adjoint(self.y)
        return self.operator.forward(torch.ones_like(like))

    def inverse(self, covariance: LearnedCovariance) -> Product:
        """Approximate products with the inverse of A C A^H + sigma_y^2 I.

        Args:
            covariance: C.
        """
        if self.gram is None:
            return _same
        along = self.operator.forward(covariance.marginal.to(self.lengths))
        mean = torch.where(self.lengths > 0, along / self.lengths, 0.0)
        least = LEAST * mean.amax(tuple(range(1, mean.ndim)), keepdim=True)
        coloured = self.gram.coloured(mean.clamp_min(least), covariance.power)
        return coloured.inverse(self.variance)

    def prior(self, prior: Prior) -> Prior:
        return prior if self.draws else _Moments(prior, self)

    def sampler(self, sampler: Sampler) -> Sampler:
        if not self.draws:
            return sampler
        return drawing(sampler, lambda prior, noise: _Moments(prior, self, noise))


def _same(r: Tensor) -> Tensor:
    return r


@final
class _Moments(Prior):
    """The mean of x_0 given x_t and y as denoised image; a draw with a source of noise."""

    def __init__(
        self, inner: Prior, conditioner: MomentMatching, noise: Noise | None = None
    ) -> None:
        self.inner, self.sde, self.conditioner, self.noise = inner, inner.sde, conditioner, noise

    def denoise(self, x: State, t: Times) -> State:
        c, prior = self.conditioner, self.inner
        if c.covariance == "denoiser" or (c.covariance == "auto" and not prior.has_covariance):
            if self.noise is not None:
                raise MedscoreError(
                    "`draws` needs a prior that knows its covariance",
                    hint="train one (docs/covariance.md), or leave out `draws`",
                )
            scale = expand(self.sde.sigma(t) ** 2 / self.sde.alpha(t), x)
            leaf, graph = differentiable(prior, x, t)
            return self._given_data(
                graph.detach(), lambda v: scale * pull_back(graph, leaf, v, keep=True), _same, c.y
            )
        denoised, learned = prior.denoise_with_covariance(x, t)
        y = c.y
        if self.noise is not None:
            denoised = denoised + learned.draw(self.noise)
            y = y + wide(c.variance.sqrt(), y) * _white(self.noise, y)
        wider = learned.scaled(expand(torch.full_like(t, c.inflation**0.5), denoised))
        return self._given_data(denoised, wider.product, c.inverse(wider), y)

    def _given_data(self, image: State, covariance: Product, inverse: Product, y: Tensor) -> State:
        """image + C A^H (A C A^H + sigma_y^2 I)^-1 (y - A image)."""
        c, a = self.conditioner, self.conditioner.operator
        return image + damped_by_rows(
            a.forward,
            lambda u: covariance(a.adjoint(u)),
            a.mask(y) * y - a.forward(image),
            c.variance,
            inverse,
            tol=c.tolerance,
            max_iter=c.iterations,
        )


def _white(noise: Noise, like: Tensor) -> Tensor:
    """White noise, of the real and the imaginary part each if ``like`` is complex."""
    if not like.is_complex():
        return noise(like)
    return torch.view_as_complex(noise(torch.view_as_real(like)))

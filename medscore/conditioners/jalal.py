r"""Posterior Langevin guidance (Jalal et al. 2021), in two variants.

The paper's Eq. 4 adds to the score at noise level sigma_t

.. math:: \frac{A^H (y - A x)}{\gamma_t^2 + \sigma_y^2}, \qquad \gamma_t = \gamma \sigma(t) |A|,

an annealed likelihood whose gamma_t shrinks with the noise level. The code that the authors
published scales that gradient to the length of the score instead,

.. math:: \mathrm{weight}\,\frac{\|s\|}{\|A^H (y - A x)\|}\, A^H (y - A x).

Both are of data plus noise; where alpha is not 1, x / alpha is compared with y. They are meant for
:mod:`~medscore.samplers.annealed_langevin`, and work with any sampler.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

from torch import Tensor

from medscore.conditioners.base import Conditioner, Guided
from medscore.operators.base import Operator, norm
from medscore.parameters import NonNegative, Positive
from medscore.priors.base import Prior
from medscore.sdes.base import expand
from medscore.types import State, Times


@final
@dataclass(frozen=True)
class Jalal(Conditioner):
    """Annealed Langevin guidance, Eq. 4 of the paper.

    Args:
        operator: A, acting on images in the prior's range.
        y: measurements on the full grid, one per sample.
        gamma: gamma_t / (sigma(t) |A|), how strongly the likelihood is annealed.
        noise_std: standard deviation sigma_y of each measured number; 0 for noise-free data.
    """

    operator: Operator
    y: Tensor
    gamma: Positive = 1.0
    noise_std: NonNegative = 0.0

    @cached_property
    def size(self) -> Tensor:
        """|A|^2 of each sample."""
        return self.operator.norm_squared(self.y)

    def prior(self, prior: Prior) -> Prior:
        def guidance(x: State, t: Times) -> State:
            alpha, sigma = prior.sde.alpha(t), prior.sde.sigma(t)
            gap = self.operator.forward(x / expand(alpha, x)) - self.y
            gamma2 = self.gamma**2 * self.size * (sigma / alpha) ** 2
            weight = 1 / (alpha * (gamma2 + self.noise_std**2))
            return -expand(weight, x) * self.operator.adjoint(gap)

        return Guided(prior, guidance)


@final
@dataclass(frozen=True)
class JalalNormalised(Conditioner):
    """Langevin guidance as in the authors' published code.

    Args:
        operator: A, acting on images in the prior's range.
        y: measurements on the full grid, one per sample.
        weight: norm of the likelihood's gradient relative to the norm of the score.
    """

    operator: Operator
    y: Tensor
    weight: NonNegative = 1.0

    def prior(self, prior: Prior) -> Prior:
        return _Normalised(prior, self)


@final
class _Normalised(Prior):
    """The two lengths are of the same evaluation, so no network call is made twice."""

    def __init__(self, inner: Prior, conditioner: JalalNormalised) -> None:
        self.inner, self.sde, self.conditioner = inner, inner.sde, conditioner

    def denoise(self, x: State, t: Times) -> State:
        c, alpha = self.conditioner, expand(self.sde.alpha(t), x)
        denoised = self.inner.denoise(x, t)
        gradient = c.operator.adjoint(c.y - c.operator.forward(x / alpha))
        # the score is (alpha D - x) / sigma^2, and D changes by sigma^2 / alpha of its change
        length = norm(alpha * denoised - x) / norm(gradient).clamp_min(1e-30)
        return denoised + c.weight * expand(length, x) * gradient / alpha

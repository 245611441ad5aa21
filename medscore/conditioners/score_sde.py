r"""Guidance by a noisy measurement, the Score SDE method (Song 2022, B.5.9, Eq. B.36).

.. math:: \nabla \log p_t(x_t | y) \approx s(x_t, t) + \nabla_{x_t} \log p_t(\hat y_t | x_t), \qquad
          \hat y_t = \alpha(t) y + \sigma(t) A z.

Given x_t, the noisy measurement is A x_t up to noise of about the same size as in y_t. The
dissertation does not specify its distribution; here it is
:math:`N(A x_t, \sigma(t)^2 |A|^2 / \mathrm{weight})`, so that

.. math:: \nabla_{x_t} \log p_t(\hat y_t | x_t) =
          \mathrm{weight}\,\frac{A^H (\hat y_t - A x_t)}{|A|^2 \sigma(t)^2}.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

from torch import Tensor

from medscore.conditioners.base import Conditioner, Guided
from medscore.operators.base import Operator
from medscore.parameters import NonNegative
from medscore.priors.base import Prior
from medscore.samplers.base import Memory, Sampler
from medscore.sdes.base import expand
from medscore.types import State, Times
from medscore.white_noise import Noise


@final
@dataclass(frozen=True)
class ScoreSDE(Conditioner):
    """Guidance by the noisy measurement y_t, whose noise is drawn once per elementary step.

    Args:
        operator: A, acting on images in the prior's range.
        y: measurements on the full grid, one per sample.
        weight: scale of the guidance; at 1, y_t given x_t has the standard deviation sigma(t) |A|.
    """

    operator: Operator
    y: Tensor
    weight: NonNegative = 1.0

    @cached_property
    def size(self) -> Tensor:
        """The squared operator norm |A|^2 for each sample, (batch,)."""
        return self.operator.norm_squared(self.y)

    def sampler(self, sampler: Sampler) -> Sampler:
        return sampler.map(lambda part: _Guided(part, self))

    def guided(self, prior: Prior, x: State, noise: Noise) -> Prior:
        """The prior with guidance by one draw of A z.

        Args:
            prior: the unconditional prior.
            x: the state, (batch, channel, ...), for its shape.
            noise: draws white noise in the shape of its argument.
        """
        az = self.operator.forward(noise(x))

        def guidance(x: State, t: Times) -> State:
            alpha, sigma = prior.sde.alpha(t), prior.sde.sigma(t)
            y_t = expand(alpha, self.y) * self.y + expand(sigma, az) * az
            gap = self.operator.adjoint(y_t - self.operator.forward(x))
            return expand(self.weight / (self.size * sigma**2), x) * gap

        return Guided(prior, guidance)


@final
@dataclass(frozen=True)
class _Guided(Sampler):
    inner: Sampler
    conditioner: ScoreSDE

    def init(self, x: State) -> Memory:
        return self.inner.init(x)

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        guided = self.conditioner.guided(prior, x, noise)
        return self.inner.step(guided, x, t, s, noise, memory)

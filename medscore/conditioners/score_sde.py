r"""Score-SDE guidance (Song et al. 2022, B.5.9, Eq. B.36).

.. math:: \nabla \log p_t(x_t | y) \approx s(x_t, t) + \nabla_{x_t} \log p_t(\hat y_t | x_t), \qquad
          \hat y_t = \alpha(t) y + \sigma(t) A z.

Given x_t the noisy measurement is A x_t, up to noise of about the size of that in y_t; the text
leaves its distribution open, and :math:`N(A x_t, \sigma(t)^2 |A|^2 / \mathrm{weight})` is taken:

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
    """Guidance by the noisy measurement y_t, drawn once for each elementary step.

    Args:
        operator: A, acting on images in the prior's range.
        y: measurements on the full grid, one per sample.
        weight: scale of the guidance; 1 is the likelihood of y_t as the text writes it.
    """

    operator: Operator
    y: Tensor
    weight: NonNegative = 1.0

    @cached_property
    def size(self) -> Tensor:
        """|A|^2 of each sample."""
        return self.operator.norm_squared(self.y)

    def sampler(self, sampler: Sampler) -> Sampler:
        return sampler.map(lambda part: _Guided(part, self))

    def guided(self, prior: Prior, x: State, noise: Noise) -> Prior:
        """The prior guided by one draw of A z."""
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

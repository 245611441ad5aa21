r"""Decoupled annealing posterior sampling, DAPS (Zhang et al. 2024, Alg. 1).

At every level the sampler runs ahead to an image x_0-hat without noise, in ``ahead`` steps of its
own; an image is drawn from what that image and the measurements say,

.. math:: x_0 \sim N(x_0; \hat x_0, r_t^2 I)\, N(y; A x_0, \sigma_y^2 I),

and noised afresh to the next level, :math:`x_s = \alpha(s) x_0 + \sigma(s) z`. Levels are thereby
decoupled: a wrong turn early on can be undone. The paper draws x_0 by Langevin steps; for a linear
A the distribution is Gaussian and one least-squares problem with perturbed data draws from it
exactly (Papandreou and Yuille 2010):

.. math:: x_0 = \arg\min_x \|y + \sigma_y n - A x\|^2 / \sigma_y^2
                + \|x - \hat x_0 - r_t z\|^2 / r_t^2.

r_t^2 is that of :mod:`~medscore.conditioners.pigdm`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import torch
from annotated_types import Ge, Le
from torch import Tensor

from medscore.conditioners.base import Conditioner
from medscore.operators.base import Operator
from medscore.parameters import Count, NonNegative, Positive
from medscore.priors.base import Prior
from medscore.samplers.base import Memory, Sampler
from medscore.sdes.base import SDE, expand
from medscore.types import State, Times
from medscore.white_noise import Noise


@final
@dataclass(frozen=True)
class DAPS(Conditioner):
    """Decoupled annealing; ``ahead`` + 1 times the sampler's evaluations.

    Args:
        operator: A, acting on images in the prior's range.
        y: measurements on the full grid, one per sample.
        noise_std: standard deviation sigma_y of each measured number; 0 for noise-free data.
        variance: c of r_t^2, the variance assumed for the data, in the prior's range.
        ahead: number of sampler steps from each level to the noise-free image.
        iterations: largest number of conjugate-gradient steps.
    """

    operator: Operator
    y: Tensor
    noise_std: NonNegative = 0.0
    variance: Positive = 1.0
    ahead: Annotated[int, Ge(0), Le(1000)] = 2
    iterations: Count = 8

    def sampler(self, sampler: Sampler) -> Sampler:
        return _Decoupled(sampler, self)

    def run_ahead(self, inner: Sampler, prior: Prior, x: State, t: Times, noise: Noise) -> State:
        """x_0-hat: levels of equal ratio down to the SDE's end, then the denoised image."""
        sde, memory = prior.sde, inner.init(x)
        end = torch.full_like(t, sde.eps)
        top, low = sde.ratio(t).log(), sde.ratio(end).log()
        for step in range(self.ahead):
            now = sde.time(torch.exp(top + (low - top) * (step / self.ahead)))
            then = sde.time(torch.exp(top + (low - top) * ((step + 1) / self.ahead)))
            x, memory = inner.step(prior, x, now, then, noise, memory)
        return prior.denoise(x, end if self.ahead else t)

    def draw(self, sde: SDE, ahead: State, t: Times, noise: Noise) -> State:
        """x_0 given the image ahead and the measurements."""
        ratio2 = sde.ratio(t) ** 2
        r2 = ratio2 * self.variance / (ratio2 + self.variance)
        start = ahead + expand(r2.sqrt(), ahead) * noise(ahead)
        if self.noise_std == 0:
            return self.operator.data_consistency(start, self.y, 1.0, iterations=self.iterations)
        y = self.y + self.noise_std * _white(self.y, noise)
        damping = self.noise_std**2 / r2
        return self.operator.tikhonov(start, y, damping, iterations=self.iterations)


@final
@dataclass(frozen=True)
class _Decoupled(Sampler):
    inner: Sampler
    conditioner: DAPS

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        c = self.conditioner
        x0 = c.draw(prior.sde, c.run_ahead(self.inner, prior, x, t, noise), t, noise)
        return prior.sde.marginal(x0, s, noise(x0)), memory


def _white(y: Tensor, noise: Noise) -> Tensor:
    """White noise on measurements, real or complex."""
    if not y.is_complex():
        return noise(y)
    return torch.complex(noise(y.real), noise(y.imag))

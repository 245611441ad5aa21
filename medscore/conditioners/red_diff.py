r"""Regularisation by denoising diffusion, RED-diff (Mardani et al. 2024, Alg. 1).

A single image mu is optimised; the time grid only says at which noise levels, from high to low, the
prior is asked. With x_t = alpha mu + sigma z and the noise z-hat that the denoiser sees in it, each
step takes one of Adam's along

.. math:: \frac{A^H (A \mu - y)}{|A|^2} + \mathrm{weight}\;\tilde\sigma\,
          (\hat z - z), \qquad \hat z = \frac{x_t - \alpha D(x_t)}{\sigma}, \quad
          \tilde\sigma = \sigma / \alpha,

the second term without a gradient through the denoiser. It is an optimisation, no draw from a
posterior: samples differ by their z alone. The sampler given is not used.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from medscore.conditioners.base import Conditioner
from medscore.operators.base import Operator
from medscore.parameters import NonNegative, Positive
from medscore.priors.base import Prior
from medscore.samplers.base import Memory, Sampler
from medscore.sdes.base import expand
from medscore.types import State, Times
from medscore.white_noise import Noise

BETA_1, BETA_2, TINY = 0.9, 0.99, 1e-8
"""Adam's constants, as the paper sets them."""


@final
@dataclass(frozen=True)
class REDDiff(Conditioner):
    """Optimisation of one image; one evaluation and no backward pass per step.

    Args:
        operator: A, acting on images in the prior's range.
        y: measurements on the full grid, one per sample.
        weight: lambda, the weight of the regularisation.
        rate: Adam's learning rate.
    """

    operator: Operator
    y: Tensor
    weight: NonNegative = 0.25
    rate: Positive = 0.1

    @cached_property
    def size(self) -> Tensor:
        """|A|^2 of each sample."""
        return self.operator.norm_squared(self.y)

    def sampler(self, sampler: Sampler) -> Sampler:
        return _Optimised(self)


@final
@dataclass(frozen=True)
class _Optimised(Sampler):
    """Its memory holds mu and Adam's moments; the state it returns is mu with the noise of s."""

    conditioner: REDDiff

    def init(self, x: State) -> Memory:
        c = self.conditioner
        start = c.operator.pinv(c.y, tol=1e-3, max_iter=8).x
        zero = torch.zeros_like(start)
        return {"mu": start, "first": zero, "second": zero, "step": x.new_zeros(())}

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        c, sde, mu = self.conditioner, prior.sde, memory["mu"]
        z = noise(mu)
        x_t = sde.marginal(mu, t, z)
        found = (x_t - expand(sde.alpha(t), mu) * prior.denoise(x_t, t)) / expand(sde.sigma(t), mu)
        misfit = c.operator.adjoint(c.operator.forward(mu) - c.operator.mask(c.y) * c.y)
        pull = expand(c.weight * sde.ratio(t), mu) * (found - z)
        gradient = misfit / expand(c.size, mu) + pull
        count = memory["step"] + 1
        first = BETA_1 * memory["first"] + (1 - BETA_1) * gradient
        second = BETA_2 * memory["second"] + (1 - BETA_2) * gradient**2
        scaled = (second / (1 - BETA_2**count)).sqrt() + TINY
        mu = mu - c.rate * first / (1 - BETA_1**count) / scaled
        return (
            sde.marginal(mu, s, noise(mu)),
            {"mu": mu, "first": first, "second": second, "step": count},
        )

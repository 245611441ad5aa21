r"""Denoising diffusion null-space models, DDNM and DDNM+ (Wang, Yu and Zhang 2023, Eq. 13 and 17).

The null-space part of the denoised image is kept, and its range-space part is taken from y,

.. math:: D' = D + \lambda_t A^+ (y - A D).

For noise-free data lambda_t = 1. If y has noise of standard deviation sigma_y, A^+ (y - A D) adds
noise of about :math:`\sigma_y / |A|` to the image. lambda_t is reduced so that this noise does not
exceed the noise in the state, :math:`\lambda_t = \min(1, \tilde\sigma |A| / \sigma_y)` with
sigma~ = sigma / alpha. DDNM+ also subtracts its variance from the noise that the sampler adds. This
implementation changes the prior only and cannot do so; late states are slightly noisier.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from medscore.conditioners.base import Conditioner, Refined
from medscore.operators.base import Operator
from medscore.parameters import Count, NonNegative
from medscore.priors.base import Prior
from medscore.sdes.base import expand
from medscore.types import State, Times


@final
@dataclass(frozen=True)
class DDNM(Conditioner):
    """Replacement of the range-space part; it costs one application of A^+ per evaluation.

    Args:
        operator: A, acting on images in the prior's range.
        y: measurements on the full grid, one per sample.
        noise_std: standard deviation sigma_y of each measured number; 0 for noise-free data.
        iterations: largest number of conjugate-gradient steps, if A^+ has no closed form.
    """

    operator: Operator
    y: Tensor
    noise_std: NonNegative = 0.0
    iterations: Count = 20

    @cached_property
    def size(self) -> Tensor:
        """The operator norm |A| for each sample, (batch,)."""
        return self.operator.norm_squared(self.y).sqrt()

    def prior(self, prior: Prior) -> Prior:
        def refine(denoised: State, x: State, t: Times) -> State:
            gap = self.operator.mask(self.y) * self.y - self.operator.forward(denoised)
            change = self.operator.pinv(gap, tol=1e-6, max_iter=self.iterations).x
            if self.noise_std:
                trust = prior.sde.ratio(t) * self.size / self.noise_std
                change = expand(torch.clamp_max(trust, 1.0), x) * change
            return denoised + change

        return Refined(prior, refine)

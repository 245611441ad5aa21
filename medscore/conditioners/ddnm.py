r"""Null-space refinement, DDNM and DDNM+ (Wang, Yu and Zhang 2023, Eq. 13 and 17).

The denoised image keeps its null-space part and takes its range-space part from y,

.. math:: D' = D + \lambda_t A^+ (y - A D).

Noise-free, lambda_t = 1. With noise of deviation sigma_y in y, A^+ (y - A D) brings noise of about
:math:`\sigma_y / |A|` into the image, and lambda_t is lowered so that it never exceeds the noise
left in the state, :math:`\lambda_t = \min(1, \tilde\sigma |A| / \sigma_y)`, sigma~ = sigma / alpha.
DDNM+ also takes that noise off what the sampler adds; an arrow on the prior cannot, so late samples
are a little noisier here.
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
    """Range-space replacement; no cost beyond the sampler's evaluations and A^+.

    Args:
        operator: A, acting on images in the prior's range.
        y: measurements on the full grid, one per sample.
        noise_std: standard deviation sigma_y of each measured number; 0 for noise-free data.
        iterations: largest number of conjugate-gradient steps, where A^+ needs them.
    """

    operator: Operator
    y: Tensor
    noise_std: NonNegative = 0.0
    iterations: Count = 20

    @cached_property
    def size(self) -> Tensor:
        """|A| of each sample."""
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

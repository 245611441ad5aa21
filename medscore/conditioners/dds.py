r"""Decomposed diffusion sampling, DDS (Chung, Lee and Ye 2024, Eq. 14 and Alg. 1).

A few conjugate gradient steps from the denoised image stay in the Krylov space of A^H A, near the
images the prior knows:

.. math:: D' = \arg\min_x \tfrac\gamma2 \|y - A x\|^2 / |A|^2 + \tfrac12 \|x - D\|^2, \qquad
          x_s \leftarrow h(x_t) + \alpha(s) (D' - D).

The noise direction stays the network's own, from D; that is what the second formula says, for any
sampler h. For DDIM it is the paper's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

from torch import Tensor

from medscore.conditioners.base import Conditioner, Seen, corrected
from medscore.operators.base import Operator
from medscore.parameters import Count, NonNegative, Positive
from medscore.priors.base import Prior
from medscore.samplers.base import Sampler
from medscore.sdes.base import expand
from medscore.types import State, Times
from medscore.white_noise import Noise

NOISY = 5.0
"""gamma for noisy measurements."""


@final
@dataclass(frozen=True)
class DDS(Conditioner):
    """Conjugate gradients from the denoised image; no cost beyond them and the evaluations.

    Args:
        operator: A, acting on images in the prior's range.
        y: measurements on the full grid, one per sample.
        gamma: weight of the measurements, whatever their unit; by default infinite for noise-free
            data and 5 otherwise.
        iterations: number of conjugate-gradient steps, M in the paper.
        noise_std: standard deviation sigma_y of each measured number; 0 for noise-free data.
    """

    operator: Operator
    y: Tensor
    gamma: Positive | None = None
    iterations: Count = 5
    noise_std: NonNegative = 0.0

    @cached_property
    def size(self) -> Tensor:
        """|A|^2 of each sample."""
        return self.operator.norm_squared(self.y)

    def sampler(self, sampler: Sampler) -> Sampler:
        return corrected(sampler, self.correct)

    def correct(self, prior: Prior, seen: Seen, x_s: State, s: Times, noise: Noise) -> State:
        """The state after a step, moved by what D' differs from D."""
        _, _, denoised = seen
        change = self.refine(denoised) - denoised
        return x_s + expand(prior.sde.alpha(s), x_s) * change

    def refine(self, denoised: State) -> State:
        """D' of D."""
        gamma = NOISY if self.gamma is None and self.noise_std else self.gamma
        if gamma is None:
            return self.operator.data_consistency(denoised, self.y, 1.0, iterations=self.iterations)
        damping = self.size / gamma
        return self.operator.tikhonov(denoised, self.y, damping, iterations=self.iterations)

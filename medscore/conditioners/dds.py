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
from medscore.priors.base import Prior
from medscore.samplers.base import Sampler
from medscore.sdes.base import expand
from medscore.types import State, Times
from medscore.white_noise import Noise


@final
@dataclass(frozen=True)
class DDS(Conditioner):
    """No cost beyond the sampler's evaluations and the conjugate gradients.

    Args:
        operator: A on images in the prior's range. y: measurements, full grid, one per sample.
        gamma: weight of the measurements, whatever their unit; ``None`` for infinity, the case
            without noise.
        iterations: of conjugate gradients, the M of the paper.
    """

    operator: Operator
    y: Tensor
    gamma: float | None = None
    iterations: int = 5

    def __post_init__(self) -> None:
        if self.iterations < 1 or (self.gamma is not None and not self.gamma > 0):
            raise ValueError(
                f"iterations {self.iterations} >= 1, gamma {self.gamma} > 0 are needed"
            )

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
        if self.gamma is None:
            return self.operator.data_consistency(denoised, self.y, 1.0, iterations=self.iterations)
        damping = self.size / self.gamma
        return self.operator.tikhonov(denoised, self.y, damping, iterations=self.iterations)

r"""Diffusion posterior sampling, DPS (Chung et al. 2023a, Alg. 1).

After every step from t to s the state is moved along the gradient of the data misfit of the
denoised image D(x_t), which is computed through the denoiser,

.. math:: x_s \leftarrow x_s - \zeta_t \nabla_{x_t} \|y - A D(x_t)\|^2, \qquad
          \zeta_t = \frac{\zeta}{|A|\,\|y - A D(x_t)\|}.

The step is a heuristic and not the score of a posterior; the samples are biased even for Gaussian
data. The factor |A|, which is 1 in the paper, makes zeta independent of the unit of y.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

from torch import Tensor

from medscore.conditioners.base import Conditioner, Seen, corrected
from medscore.operators.base import Operator, norm
from medscore.parameters import NonNegative
from medscore.priors.base import Prior
from medscore.priors.derivative import pull_back
from medscore.samplers.base import Sampler
from medscore.sdes.base import expand
from medscore.types import State, Times
from medscore.white_noise import Noise


@final
@dataclass(frozen=True)
class DPS(Conditioner):
    """Gradient of the data misfit through the denoiser; one backward pass per step.

    Args:
        operator: A, acting on images in the prior's range.
        y: measurements on the full grid, one per sample.
        zeta: step size relative to the norm of the residual.
    """

    operator: Operator
    y: Tensor
    zeta: NonNegative = 0.5

    @cached_property
    def size(self) -> Tensor:
        """The squared operator norm |A|^2 for each sample, (batch,)."""
        return self.operator.norm_squared(self.y)

    def sampler(self, sampler: Sampler) -> Sampler:
        return corrected(sampler, self.correct, differentiable=True)

    def correct(self, prior: Prior, seen: Seen, x_s: State, s: Times, noise: Noise) -> State:
        """The state after a step, moved along the gradient.

        Args:
            prior: the score model.
            seen: first evaluation of the step, with its graph.
            x_s: the state at time s, (batch, channel, ...).
            s: times, (batch,).
            noise: not used.
        """
        leaf, _, denoised = seen
        return x_s + self.descent(leaf, denoised)

    def descent(self, leaf: State, denoised: State) -> State:
        """The term that is added to the state.

        Args:
            leaf: the state x_t, leaf of the autograd graph.
            denoised: denoised image D(x_t) with its graph.
        """
        gap = self.operator.mask(self.y) * self.y - self.operator.forward(denoised.detach())
        back = pull_back(denoised, leaf, self.operator.adjoint(gap))
        length = self.size.sqrt() * norm(gap)
        return expand(2 * self.zeta / length.clamp_min(1e-30), back) * back

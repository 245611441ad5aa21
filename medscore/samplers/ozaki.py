r"""Ozaki's discretisation of Langevin dynamics with the second-order score (Song 2022, Eq. 4.20).

The drift is linearised at the state instead of being frozen, and the linear SDE is solved exactly:

.. math:: x \leftarrow x + M s_1(x) + V^{1/2} z, \qquad
          M = (e^{\epsilon s_2} - I)\, s_2^{-1}, \qquad V = (e^{2 \epsilon s_2} - I)\, s_2^{-1},

with :math:`s_1 = \nabla \log p_s` and :math:`s_2 = \nabla^2 \log p_s` at x. This epsilon is that of
Eq. 6.1, half of that of Eq. 4.19, so that both limits for :math:`s_2 \to 0` are those of Langevin
dynamics, :math:`\epsilon` and :math:`2\epsilon`. On a Gaussian the stationary distribution is exact
for every step size.

In the diagonal form s_2 is replaced by its diagonal, and the step is that of each axis by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from medscore.parameters import Count, NonNegative, Positive
from medscore.priors.base import Prior
from medscore.samplers.annealed_langevin import AnnealedLangevin
from medscore.samplers.base import Memory, Sampler
from medscore.samplers.predictor_corrector import PredictorCorrector
from medscore.samplers.reverse_diffusion import ReverseDiffusion
from medscore.sdes.base import expand
from medscore.types import State, Times
from medscore.uncertainty.second_order import Curvature, Form, SecondOrder
from medscore.white_noise import Noise

GROWTH = 1.0
"""Default bound of eps h, for eigenvalues h of s_2."""


@final
@dataclass(frozen=True)
class Ozaki(Sampler):
    """Ozaki steps at the noise level of time s, with a fixed step size.

    It is meant for a time grid that repeats a single time.

    Args:
        epsilon: step size.
        second_order: form of the second-order score.
        growth: largest eps h, for eigenvalues h of s_2. They are positive where the density is not
            log-concave, and there the linearised drift grows exponentially.
    """

    epsilon: Positive
    second_order: SecondOrder = field(default_factory=SecondOrder)
    growth: NonNegative = GROWTH

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        score, second = self.second_order.at(prior, x, s, noise)
        epsilon = torch.full_like(s, self.epsilon)
        return ozaki_update(x, score, second, epsilon, noise(x), self.growth), memory


@final
@dataclass(frozen=True)
class ScaledOzaki(Sampler):
    """One Ozaki step whose size is proportional to the noise variance at s.

    Args:
        relative: step size relative to the noise variance, epsilon / sigma(s)^2.
        second_order: form of the second-order score.
        growth: as for :class:`Ozaki`.
    """

    relative: Positive
    second_order: SecondOrder = field(default_factory=SecondOrder)
    growth: NonNegative = GROWTH

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        score, second = self.second_order.at(prior, x, s, noise)
        epsilon = self.relative * prior.sde.sigma(s) ** 2
        return ozaki_update(x, score, second, epsilon, noise(x), self.growth), memory


def ozaki_update(
    x: State, score: State, second: Curvature, epsilon: Times, z: State, growth: float = GROWTH
) -> Tensor:
    """The Ozaki update, Eq. 4.20.

    Args:
        x: states, (batch, ...).
        score: scores s_1 at ``x``.
        second: second-order scores s_2 at ``x``.
        epsilon: step sizes, (batch,).
        z: white noise in the shape of ``x``.
        growth: largest eps h.
    """
    drift = second.along(score)(lambda h: rise(h, expand(epsilon, h), growth))
    spread = second.along(z)(lambda h: torch.sqrt(rise(h, 2 * expand(epsilon, h), 2 * growth)))
    return x + drift + spread


def rise(h: Tensor, epsilon: Tensor, growth: float) -> Tensor:
    r"""The factor :math:`(e^{\epsilon h} - 1) / h` of an axis, which is epsilon at h = 0.

    Args:
        h: eigenvalues of s_2.
        epsilon: step sizes, broadcastable to ``h``.
        growth: largest epsilon h.
    """
    exponent = (epsilon * h).clamp_max(growth)
    flat = exponent.abs() < torch.finfo(h.dtype).eps
    safe = torch.where(flat, torch.ones_like(exponent), exponent)
    return epsilon * torch.where(flat, torch.ones_like(exponent), torch.expm1(safe) / safe)


def ozaki(
    relative: Positive = 0.5,
    steps: Count = 1,
    form: Form = "diagonal",
    probes: Count = 4,
    order: Count = 12,
    growth: NonNegative = GROWTH,
) -> AnnealedLangevin:
    """Annealed Langevin dynamics with Ozaki's discretisation (Song 2022, Eq. 4.20 in Alg. 6.1).

    Args:
        relative: step size relative to the noise variance of the level.
        steps: number of steps at each level of the grid.
        form: what is used of the second-order score: full, diagonal or low-rank.
        probes: random signs that estimate the diagonal, one backward pass each.
        order: dimension of the Krylov space of the other two forms.
        growth: largest eps h, for eigenvalues h of the second-order score.
    """
    return AnnealedLangevin(ScaledOzaki(relative, SecondOrder(form, probes, order), growth), steps)


def pc_ozaki(
    relative: Positive = 0.1,
    corrections: Count = 1,
    form: Form = "diagonal",
    probes: Count = 4,
    order: Count = 12,
    growth: NonNegative = GROWTH,
) -> PredictorCorrector:
    """Predictor-corrector sampling by reverse diffusion and Ozaki steps (Song 2022, Eq. 4.20).

    Args:
        relative: step size of the corrector relative to the noise variance of the level.
        corrections: number of corrector steps after each predictor step.
        form: what is used of the second-order score: full, diagonal or low-rank.
        probes: random signs that estimate the diagonal, one backward pass each.
        order: dimension of the Krylov space of the other two forms.
        growth: largest eps h, for eigenvalues h of the second-order score.
    """
    corrector = ScaledOzaki(relative, SecondOrder(form, probes, order), growth)
    return PredictorCorrector(ReverseDiffusion(), corrector, corrections)

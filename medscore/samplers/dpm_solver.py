r"""DPM-Solver of order 1, 2 and 3 (Lu et al. 2022, Eq. 3.7, Alg. 1 and 2).

In terms of the half-log signal-to-noise ratio :math:`\lambda = \log(\alpha/\sigma)` the solution of
the probability flow is

.. math:: x_s = \frac{\alpha_s}{\alpha_t} x_t
                - \alpha_s \int_{\lambda_t}^{\lambda_s} e^{-\lambda} \epsilon(x_\lambda, \lambda)\,
                d\lambda, \qquad \epsilon = -\sigma \nabla \log p.

The method expands epsilon in a Taylor series and integrates its terms exactly. It works best on the
``log_snr`` grid. Intermediate points divide the step in lambda.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from medscore.priors.base import Prior
from medscore.samplers.base import Memory, Sampler
from medscore.sdes.base import SDE, expand
from medscore.types import State, Times
from medscore.white_noise import Noise


@final
@dataclass(frozen=True)
class DPMSolver1(Sampler):
    """Deterministic, first order; one evaluation per step; equal to DDIM with eta = 0."""

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        h = _half_log_snr(prior.sde, s) - _half_log_snr(prior.sde, t)
        return _move(prior.sde, x, t, s, torch.expm1(h), _epsilon(prior, x, t)), memory


@final
@dataclass(frozen=True)
class DPMSolver2(Sampler):
    """Deterministic, second order; two evaluations per step, the second at the midpoint."""

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        sde = prior.sde
        start = _half_log_snr(sde, t)
        h = _half_log_snr(sde, s) - start
        middle = _time(sde, start + h / 2)
        u = _move(sde, x, t, middle, torch.expm1(h / 2), _epsilon(prior, x, t))
        return _move(sde, x, t, s, torch.expm1(h), _epsilon(prior, u, middle)), memory


@final
@dataclass(frozen=True)
class DPMSolver3(Sampler):
    """Deterministic, third order; three evaluations per step, at 0, 1/3 and 2/3 of the step."""

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        sde, r1, r2 = prior.sde, 1 / 3, 2 / 3
        start = _half_log_snr(sde, t)
        h = _half_log_snr(sde, s) - start
        first, second = _time(sde, start + r1 * h), _time(sde, start + r2 * h)
        e0 = _epsilon(prior, x, t)
        u1 = _move(sde, x, t, first, torch.expm1(r1 * h), e0)
        d1 = _epsilon(prior, u1, first) - e0
        bend = r2 / r1 * (torch.expm1(r2 * h) / (r2 * h) - 1)
        u2 = _move(sde, x, t, second, torch.expm1(r2 * h), e0)
        u2 = u2 - expand(sde.sigma(second) * bend, x) * d1
        d2 = _epsilon(prior, u2, second) - e0
        bend = (torch.expm1(h) / h - 1) / r2
        x = _move(sde, x, t, s, torch.expm1(h), e0)
        return x - expand(sde.sigma(s) * bend, x) * d2, memory


def _move(sde: SDE, x: State, t: Times, s: Times, gain: Tensor, epsilon: State) -> Tensor:
    """The update alpha_s / alpha_t x - sigma_s gain epsilon."""
    ratio = sde.alpha(s) / sde.alpha(t)
    return expand(ratio, x) * x - expand(sde.sigma(s) * gain, x) * epsilon


def _epsilon(prior: Prior, x: State, t: Times) -> Tensor:
    return -expand(prior.sde.sigma(t), x) * prior.score(x, t)


def _half_log_snr(sde: SDE, t: Times) -> Tensor:
    return -torch.log(sde.ratio(t))


def _time(sde: SDE, half_log_snr: Tensor) -> Tensor:
    return sde.time(torch.exp(-half_log_snr))

r"""Bounds on the negative log-likelihood of single images (Song et al. 2022, Theorems 9.3 and B.1).

For a linear SDE and T = 1 all terms but one have closed forms, as g^2/sigma^2 is the derivative of
log(sigma^2/alpha^2) and f that of log alpha:

.. math:: L^{DSM}(x, \epsilon) = E[-\log \pi(x_1)] - D \log \frac{\sigma(1)}{\sigma(\epsilon)}
          + \tfrac12 \int_\epsilon^1 g^2\, E \| s_\theta(x_t, t) + z/\sigma \|^2 dt,

    L^{SM}(x, \epsilon) = E[-\log \pi(x_1)] - D \log \frac{\alpha(1)}{\alpha(\epsilon)}
          + \tfrac12 \int_\epsilon^1 g^2\, E [ 2 \nabla \cdot s_\theta + \| s_\theta \|^2 ] dt,

x_t = alpha x + sigma z. Both bound E[-log p_eps(x_eps)]; with :func:`correction` (Eq. B.41) they
bound -log p(x) of the clean image. The integrals are estimated at random times; importance sampling
(:class:`medscore.objectives.denoising.ImportanceTimes`, Eq. 9.12) reduces the variance. The bounds
are differentiable with respect to ``x`` where it requires a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from medscore.likelihood.divergence import exact, rademacher
from medscore.likelihood.estimates import Estimated
from medscore.objectives.denoising import (
    Denoising,
    likelihood_importance,
    likelihood_weighting,
)
from medscore.priors.base import Prior
from medscore.sdes.base import SDE
from medscore.types import State, Times
from medscore.white_noise import Noise, derive_seed

IMPORTANCE = likelihood_importance()


class Bound(Estimated):
    """An upper bound in nats on each sample's negative log-likelihood, one estimate per draw."""

    def __add__(self, other: Bound) -> Bound:
        return Bound(self.estimates + other.estimates)


def denoising_bound(
    prior: Prior, x: State, seeds: Sequence[int], draws: int, *, objective: Denoising = IMPORTANCE
) -> Bound:
    """L^DSM(x, eps) of clean images.

    Args:
        prior: the prior.
        x: clean images (batch, ...) in the prior's range.
        seeds: one seed per sample.
        draws: number of draws of time and noise.
        objective: times with likelihood weighting, ``likelihood()`` or ``likelihood_importance()``.

    Raises:
        ValueError: the objective has another weighting, or the SDE has no noise at its eps.
    """
    _check(objective, prior.sde)

    def one(u: Times, z: State, draw: int) -> Times:
        return denoising_draw(prior, x, u, z, objective)

    return _average(x, seeds, draws, one)


def denoising_draw(
    prior: Prior, x: State, u: Times, z: State, objective: Denoising = IMPORTANCE
) -> Times:
    """L^DSM(x, eps) estimated from one time and one noise per sample, (batch,).

    Args:
        prior: the prior.
        x: clean images (batch, ...) in the prior's range.
        u: uniform in [0, 1), (batch,), from which times follow.
        z: white noise in the shape of ``x``.
        objective: times with likelihood weighting.
    """
    sde, d = prior.sde, x[0].numel()
    matching = 0.5 * d * (1 - sde.eps) * objective(prior, x, u, z)
    return _cross_entropy(sde, x) - d * _log_ratio(sde.sigma, sde) + matching


def matching_bound(
    prior: Prior,
    x: State,
    seeds: Sequence[int],
    draws: int,
    *,
    objective: Denoising = IMPORTANCE,
    probes: int = 0,
) -> Bound:
    """L^SM(x, eps) of clean images.

    Args:
        prior: the prior.
        x: clean images (batch, ...) in the prior's range.
        seeds: one seed per sample.
        draws: number of draws of time and noise.
        objective: times with likelihood weighting, ``likelihood()`` or ``likelihood_importance()``.
        probes: random probes of the divergence, new for each draw; 0 computes it exactly.

    Raises:
        ValueError: the objective has another weighting, or the SDE has no noise at its eps.
    """
    _check(objective, prior.sde)
    sde, d = prior.sde, x[0].numel()
    rest = _cross_entropy(sde, x) - d * _log_ratio(sde.alpha, sde)

    def one(u: Times, z: State, draw: int) -> Times:
        t = objective.times(sde, u)
        own = [derive_seed(seed, draw) for seed in seeds]
        divergence = rademacher(x, own, probes) if probes else exact
        score, trace = divergence(lambda points: prior.score(points, t), sde.marginal(x, t, z))
        inner = 2 * trace.mean(1) + score.flatten(1).square().sum(1)
        weight = objective.weighting(sde, t) * (sde.ratio(t) * sde.sigma(t)) ** 2
        return rest + 0.5 * (1 - sde.eps) * weight * inner

    return _average(x, seeds, draws, one)


def correction(prior: Prior, x: State, seeds: Sequence[int], draws: int) -> Bound:
    r"""The term of Eq. B.41 that turns either bound into one on the clean image's likelihood.

    It is :math:`-E[\log q_\theta(x|x') - \log p_{0\epsilon}(x'|x)]`, where x' has the noise of eps
    and q is the normal distribution with mean :math:`D_\theta(x', \epsilon)` and variance
    :math:`\sigma^2/\alpha^2`.

    Args:
        prior: the prior.
        x: clean images (batch, ...) in the prior's range.
        seeds: one seed per sample.
        draws: number of draws of the noise.
    """
    sde, d = prior.sde, x[0].numel()
    t = torch.full((len(x),), sde.eps, dtype=x.dtype, device=x.device)

    def one(u: Times, z: State, draw: int) -> Times:
        error = (prior.denoise(sde.marginal(x, t, z), t) - x).flatten(1).square().sum(1)
        return 0.5 * error / sde.ratio(t) ** 2 - d * torch.log(sde.alpha(t)) - 0.5 * d

    return _average(x, [derive_seed(seed, 1) for seed in seeds], draws, one)


def _check(objective: Denoising, sde: SDE) -> None:
    """Reject other weightings than g^2 (dt/du) / (1 - eps): with times t(u) it integrates g^2."""
    if not sde.eps > 0:
        raise ValueError(f"{sde} has eps {sde.eps}: a bound needs noise at eps")
    u = torch.linspace(0, 1, 1025, dtype=torch.float64)
    slope = objective.times(sde, u).diff() * 1024 / (1 - sde.eps)
    t = objective.times(sde, (u[1:] + u[:-1]) / 2)
    times = objective.weighting(sde, t) / likelihood_weighting(sde, t) / slope
    if not abs(float(times.median()) - 1) < 0.05:
        raise ValueError(
            f"likelihood weighting is needed, not {float(times.median()):.3g} times it"
        )


def _average(
    x: State, seeds: Sequence[int], draws: int, one: Callable[[Times, State, int], Times]
) -> Bound:
    """The estimates ``one(u, z, draw)`` for every draw."""
    noise = Noise(seeds)
    found = []
    with torch.set_grad_enabled(torch.is_grad_enabled() and x.requires_grad):
        for draw in range(draws):
            found.append(one(noise.uniform(x), noise(x), draw))
    return Bound(torch.stack(found, 1))


def _cross_entropy(sde: SDE, x: State) -> Times:
    r""":math:`E[-\log \pi(x_1)]` of clean images."""
    d, one = x[0].numel(), torch.ones((), dtype=x.dtype, device=x.device)
    square = sde.alpha(one) ** 2 * x.flatten(1).square().sum(1) + sde.sigma(one) ** 2 * d
    return 0.5 * (square / sde.prior_std**2 + d * math.log(2 * math.pi * sde.prior_std**2))


def _log_ratio(function: Callable[[Tensor], Tensor], sde: SDE) -> float:
    """Log of a function of time at 1 over its value at eps."""
    low, high = function(torch.tensor([sde.eps, 1.0], dtype=torch.float64)).log().tolist()
    return float(high - low)

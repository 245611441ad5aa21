r"""Log-likelihood by the probability flow (Song et al. 2022, Eq. 9.7; Chen et al. 2018).

.. math:: \frac{dx}{dt} = v(x, t) = f(t) x - \tfrac12 g(t)^2 s_\theta(x, t), \qquad
          \log p_\epsilon(x_\epsilon) = \log \pi(x_1) + \int_\epsilon^1 \nabla \cdot v(x_t, t)\, dt,

where x and the integral are solved together, from data to noise. The density is that of the
marginal at the SDE's ``eps``, which approximates the data. The latent code is x_1, which
:func:`medscore.samplers.ode.solve` from 1 to eps decodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from inspect import isclass
from pathlib import Path

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.likelihood.divergence import Divergence, Hutchinson, gaussian, rademacher
from medscore.likelihood.estimates import Estimated
from medscore.numeric import is_number
from medscore.priors.base import Prior
from medscore.priors.given import check_tolerance, given_images, given_prior
from medscore.samplers.ode import integrate, velocity
from medscore.types import State


@dataclass(frozen=True)
class FlowLikelihood(Estimated):
    """log p(x) of a batch, one estimate per probe, with latent codes and cost.

    Attributes:
        latent: x_1, (batch, ...).
        nfe: evaluations of the score.
    """

    latent: State
    nfe: int


def log_likelihood(
    prior: Prior | str | Path,
    x: Tensor | ArrayLike,
    divergence: Divergence,
    *,
    start: float | None = None,
    rtol: float = 1e-5,
    atol: float = 1e-5,
) -> FlowLikelihood:
    """log p(x) of points at time ``start`` in nats, as a density in the prior's range.

    The batch is solved as one system, as in :func:`medscore.samplers.ode.solve`: pass one sample at
    a time if results must not depend on the rest of the batch.

    Args:
        prior: a prior, the name of one, or a path.
        x: images (batch, channel, H, W) in the prior's range, as a tensor or array.
        divergence: :func:`medscore.likelihood.divergence.exact`, or random probes, which are the
            same at all times.
        start: time of ``x``; the SDE's eps by default.
        rtol: relative tolerance of x and of log p / D.
        atol: absolute tolerance of x and of log p / D.

    Raises:
        MedscoreError: an invalid argument, or the solver's step size underflowed.
    """
    check_tolerance(rtol=rtol, atol=atol)
    prior = given_prior(prior)
    points = given_images(prior, x)
    _check_divergence(divergence, points)
    start = _start(prior, start)
    return _solved(prior, points, divergence, start, rtol, atol)


def _solved(
    prior: Prior, x: State, divergence: Divergence, start: float, rtol: float, atol: float
) -> FlowLikelihood:
    sde, d, nfe = prior.sde, x[0].numel(), 0

    def rate(time: Tensor, state: State) -> State:
        nonlocal nfe
        nfe += 1
        times = time.to(state).expand(len(state))
        here = state[:, :d].reshape(x.shape)
        score, trace = divergence(lambda points: prior.score(points, times), here)
        growth = velocity(sde, torch.ones_like(trace), times, trace / d)
        return torch.cat([velocity(sde, here, times, score).flatten(1), growth], 1)

    probes = divergence(lambda points: points, x)[1].shape[1]
    begin = torch.cat([x.flatten(1), x.new_zeros(len(x), probes)], 1)
    end = integrate(rate, begin, start, 1.0, rtol=rtol, atol=atol, parts=(d, probes))
    latent = end[:, :d].reshape(x.shape)
    return FlowLikelihood(sde.prior_logp(latent)[:, None] + d * end[:, d:], latent, nfe)


def _check_divergence(divergence: object, x: State) -> None:
    """Reject what computes no divergence, and probes in another shape than the points."""
    hint = "use medscore.likelihood.exact, or rademacher(x, seeds, count)"
    if not callable(divergence) or isclass(divergence) or divergence in (rademacher, gaussian):
        name = getattr(divergence, "__name__", repr(divergence)[:80])
        raise MedscoreError(f"`divergence` is {name}", hint=hint)
    if isinstance(divergence, Hutchinson) and divergence.probes.shape[1:] != x.shape:
        raise MedscoreError(
            f"`divergence` has probes of shape {tuple(divergence.probes.shape[1:])}, `x` has the "
            f"shape {tuple(x.shape)}",
            hint="draw the probes like `x`, rademacher(x, seeds, count)",
        )


def _start(prior: Prior, start: float | None) -> float:
    """The time of the points; the SDE's eps by default."""
    if start is None:
        return prior.sde.eps
    if not is_number(start) or not prior.sde.eps <= start <= 1:
        raise MedscoreError(f"`start` is {start!r:.80}", hint=f"use {prior.sde.eps:g} to 1")
    return start

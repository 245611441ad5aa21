r"""High-order denoising score matching, which bounds the likelihood of the ODE (Lu et al. 2022).

First-order score matching bounds the likelihood of the SDE. A bound for the probability flow ODE
also involves the Jacobian of the score, its trace, and the gradient of the trace. With
:math:`\ell_1 = \sigma \hat s + z` and :math:`\ell_2 = \sigma^2 \nabla \hat s + I`, where the hat
stops the gradient, the objectives are

.. math:: E \left\| \sigma^2 \nabla s_\theta + I - \ell_1 \ell_1^T \right\|_F^2, \qquad
          E \left| \sigma^2 \operatorname{tr} \nabla s_\theta + D - \|\ell_1\|^2 \right|^2, \qquad
          E \left\| \sigma^3 \nabla \operatorname{tr} \nabla s_\theta
          + (\|\ell_1\|^2 - \operatorname{tr} \ell_2 - 2 \ell_2)\, \ell_1 \right\|^2,

without the weights :math:`\sigma^{-4}, \sigma^{-6}`, as in the paper. They are computed from
:math:`\nabla s\, v` and :math:`v^T \nabla s\, v` along directions v: all D axes in few dimensions,
or one or more random sign vectors in many, where each direction is squared by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medscore.objectives.denoising import Denoising
from medscore.objectives.score_matching import at, respect_no_grad
from medscore.priors.base import Prior
from medscore.sdes.base import expand
from medscore.types import State, Times
from medscore.white_noise import seeds_from


@dataclass(frozen=True)
class HighOrder:
    """The sum of the objectives of first, second and third order.

    Attributes:
        first: the objective of the score itself.
        second: weight of the first two expectations above, which are divided by D.
        third: weight of the last expectation above, which is divided by D.
        probes: number of random directions, seeded by u; 0 takes all axes.
    """

    first: Denoising
    second: float
    third: float
    probes: int = 0

    def __call__(self, prior: Prior, x0: State, u: Times, z: State) -> Times:
        """The loss of each sample, (batch,).

        Args:
            prior: the prior.
            x0: clean images (batch, ...).
            u: uniform draws in [0, 1), (batch,), which become times and seed the directions.
            z: white noise of the shape of ``x0``.
        """
        d = x0[0].numel()
        t = self.first.times(prior.sde, u)
        directions = signs(x0, u, self.probes) if self.probes else None
        jacobian, trace, slope = residuals(prior, x0, t, z, directions)
        second = jacobian.flatten(2).square().sum(2)
        second = (second.mean(0) if self.probes else second.sum(0)) + trace.square().mean(0)
        extra = self.second * second + self.third * slope.flatten(2).square().sum(2).mean(0)
        return respect_no_grad(self.first(prior, x0, u, z) + extra / d)


def residuals(
    prior: Prior, x0: State, t: Times, z: State, directions: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The residuals that the second and third order square, with the graph to the parameters.

    At the exact score, each has mean zero given x_t.

    Args:
        prior: the prior.
        x0: clean images (batch, ...).
        t: times (batch,).
        z: white noise of the shape of ``x0``.
        directions: v, (count, batch, ...); None takes all axes, over which the residuals of the
            trace and of its gradient are summed.

    Returns:
        The residuals of the Jacobian (count, batch, ...), of the trace (count, batch) and of the
        gradient of the trace (count, batch, ...).
    """
    sde = prior.sde
    sigma = expand(sde.sigma(t), x0)
    with torch.enable_grad():
        s, x = at(lambda points: prior.score(points, t), sde.marginal(x0, t, z))
        one = (sigma * s + z).detach()
        axes = _axes(x0) if directions is None else directions
        parts = [_along(s, x, v, one, sigma) for v in axes]
        jacobian, trace, slope = (torch.stack(found) for found in zip(*parts, strict=True))
    if directions is None:
        trace, slope = trace.sum(0, keepdim=True), slope.sum(0, keepdim=True)
    return jacobian, trace, slope


def signs(like: State, u: Times, count: int) -> Tensor:
    """Random directions with components +1 and -1, seeded for each sample by its u.

    Args:
        like: tensor (batch, ...) that sets shape, data type and device.
        u: uniform draws in [0, 1), (batch,).
        count: number of directions for each sample.

    Returns:
        The directions, (count, batch, ...).
    """
    draws = []
    for seed in seeds_from(u):
        generator = torch.Generator().manual_seed(seed)
        draws.append(2 * torch.randint(2, (count, *like.shape[1:]), generator=generator) - 1)
    return torch.stack(draws, 1).to(like)


def _along(s: State, x: State, v: State, one: State, sigma: Tensor) -> tuple[State, Times, State]:
    """The residuals along one direction."""
    (row,) = torch.autograd.grad(s, x, v, create_graph=True, materialize_grads=True)
    form = (row * v).flatten(1).sum(1)
    (slope,) = torch.autograd.grad(form.sum(), x, create_graph=True, materialize_grads=True)
    along = expand((v * one).flatten(1).sum(1), x)
    two_v = sigma**2 * row + v  # l_2 v; the Jacobian of the true score is symmetric
    jacobian = two_v - along * one
    two_v = two_v.detach()
    v_two_v = expand((v * two_v).flatten(1).sum(1), x)
    square = v.flatten(1).square().sum(1)
    trace = sigma.flatten() ** 2 * form + square - along.flatten() ** 2
    gradient = sigma**3 * slope + (along**2 - v_two_v) * one - 2 * along * two_v
    return jacobian, trace, gradient


def _axes(like: State) -> Tensor:
    d = like[0].numel()
    axes = torch.eye(d, dtype=like.dtype, device=like.device)
    return axes.reshape(d, 1, *like.shape[1:]).expand(d, *like.shape)

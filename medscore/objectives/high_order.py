r"""High-order denoising score matching, which bounds the ODE's likelihood (Lu et al. 2022).

The first order alone bounds the likelihood of the SDE; that of the probability flow also needs the
score's Jacobian, its trace, and the gradient of that. With :math:`\ell_1 = \sigma \hat s + z` and
:math:`\ell_2 = \sigma^2 \nabla \hat s + I`, where no gradient passes through the hats,

.. math:: E \left\| \sigma^2 \nabla s_\theta + I - \ell_1 \ell_1^T \right\|_F^2, \qquad
          E \left| \sigma^2 \operatorname{tr} \nabla s_\theta + D - \|\ell_1\|^2 \right|^2, \qquad
          E \left\| \sigma^3 \nabla \operatorname{tr} \nabla s_\theta
          + (\|\ell_1\|^2 - \operatorname{tr} \ell_2 - 2 \ell_2)\, \ell_1 \right\|^2,

without the weights :math:`\sigma^{-4}, \sigma^{-6}`, as there. They are sums over directions v, of
:math:`\nabla s\, v` for the Jacobian and :math:`v^T \nabla s\, v` for the trace: over all D axes
for few dimensions, or for one or more random signs for many, each then squared by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medscore.objectives.denoising import Denoising
from medscore.objectives.score_matching import as_asked, at
from medscore.priors.base import Prior
from medscore.sdes.base import expand
from medscore.types import State, Times
from medscore.white_noise import seeds_from


@dataclass(frozen=True)
class HighOrder:
    """First, second and third order together.

    Attributes:
        first: the objective of the score itself. second: weight of the first two above, third:
            of the last; they are divided by D. probes: random directions, seeded by u; 0 takes all
            axes.
    """

    first: Denoising
    second: float
    third: float
    probes: int = 0

    def __call__(self, prior: Prior, x0: State, u: Times, z: State) -> Times:
        """The loss of each sample, shape (batch,); arguments as of
        :class:`medscore.objectives.denoising.Denoising`.
        """
        d = x0[0].numel()
        t = self.first.times(prior.sde, u)
        directions = signs(x0, u, self.probes) if self.probes else None
        jacobian, trace, slope = residuals(prior, x0, t, z, directions)
        second = jacobian.flatten(2).square().sum(2)
        second = (second.mean(0) if self.probes else second.sum(0)) + trace.square().mean(0)
        extra = self.second * second + self.third * slope.flatten(2).square().sum(2).mean(0)
        return as_asked(self.first(prior, x0, u, z) + extra / d)


def residuals(
    prior: Prior, x0: State, t: Times, z: State, directions: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """What is squared in the second and third order, each of mean zero given x_t at the exact
    score: of the Jacobian (count, batch, ...), of the trace (count, batch) and of its gradient
    (count, batch, ...), with the graph to the parameters.

    Args:
        directions: v, (count, batch, ...); None takes all axes, over which the last two are summed.
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
    """Directions of plus and minus ones, (count, batch, ...), each sample's seeded by its u."""
    draws = []
    for seed in seeds_from(u):
        generator = torch.Generator().manual_seed(seed)
        draws.append(2 * torch.randint(2, (count, *like.shape[1:]), generator=generator) - 1)
    return torch.stack(draws, 1).to(like)


def _along(s: State, x: State, v: State, one: State, sigma: Tensor) -> tuple[State, Times, State]:
    """The residuals for a direction."""
    (row,) = torch.autograd.grad(s, x, v, create_graph=True, materialize_grads=True)
    form = (row * v).flatten(1).sum(1)
    (slope,) = torch.autograd.grad(form.sum(), x, create_graph=True, materialize_grads=True)
    along = expand((v * one).flatten(1).sum(1), x)
    two_v = sigma**2 * row + v  # l_2 v, of a Jacobian that the truth has symmetric
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

r"""Higher moments of the clean image given the noisy one (Song 2022, Thm 4.3).

For :math:`x_t = \alpha x_0 + \sigma z`, the moments :math:`m_n = E[x_0^{\otimes n} | x_t]` follow
from the denoiser :math:`D = m_1` and its derivatives,

.. math:: m_{n+1} = \frac{\sigma^2}{\alpha} \frac{\partial m_n}{\partial x_t} + m_n \otimes D,

which is the theorem for any SDE; at :math:`\alpha = 1` it has :math:`D = \sigma^2 s_1 + \tilde x`.
Along one direction v the cumulants of :math:`v^T x_0` follow without a difference of large numbers,

.. math:: \kappa_1 = v^T D, \qquad
          \kappa_{n+1} = \frac{\sigma^2}{\alpha} v^T \frac{\partial \kappa_n}{\partial x_t},

because :math:`\alpha x_t / \sigma^2` is the natural parameter of the exponential family
:math:`p(x_0 | x_t)`. The second is the variance of Eq. 4.18.
"""

from __future__ import annotations

import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.parameters import Count, check_value
from medscore.priors.base import Prior
from medscore.priors.derivative import check_graph, differentiable
from medscore.types import State, Times

LARGEST = 10**6
"""Largest number of values of a moment."""


def moment(prior: Prior, x: State, t: Times, order: Count) -> Tensor:
    """The moment E[x_0 ⊗ ... ⊗ x_0 | x_t], with D^order values; for few dimensions.

    Args:
        prior: any prior whose denoised image has as many derivatives as the order.
        x: states x_t of D values, (batch, ...).
        t: times, (batch,).
        order: number n of factors.

    Returns:
        The moment (batch, D, ..., D), over the values of a state in their order in memory.

    Raises:
        MedscoreError: ``order`` is no whole number from 1, the moment has more than a million
            values, or the denoised image has no derivative.
    """
    d = x[0].numel()
    check_value(moment, "order", order)
    if d**order > LARGEST:
        raise MedscoreError(
            f"`order` is {order}, and the moment of {d} values has {float(d) ** order:.0e}",
            hint="use `cumulants` along a direction",
        )
    leaf, mean = _start(prior, x, t)
    gain = (prior.sde.sigma(t) ** 2 / prior.sde.alpha(t))[:, None, None]
    with torch.enable_grad():
        found = mean.flatten(1)
        for n in range(1, order):
            flat = found.flatten(1)
            rows = [_gradient(flat[:, i], leaf).flatten(1) for i in range(flat.shape[1])]
            slope = torch.stack(rows, 1)
            product = flat[:, :, None] * mean.flatten(1)[:, None]
            found = (gain * slope + product).reshape(len(x), *[d] * (n + 1))
    return found.detach()


def cumulants(prior: Prior, x: State, t: Times, direction: State, order: Count) -> Tensor:
    """The cumulants of v^T x_0 given x_t: mean, variance, third central moment, and so on.

    Each order takes one more derivative of the denoiser.

    Args:
        prior: any prior whose denoised image has as many derivatives as the order.
        x: states x_t, (batch, ...).
        t: times, (batch,).
        direction: v, in the shape of ``x``.
        order: number of cumulants.

    Returns:
        The cumulants 1 to ``order``, (batch, order).

    Raises:
        MedscoreError: ``order`` is no whole number from 1, or the denoised image has no derivative.
    """
    check_value(cumulants, "order", order)
    leaf, mean = _start(prior, x, t)
    gain = prior.sde.sigma(t) ** 2 / prior.sde.alpha(t)
    with torch.enable_grad():
        found = [(direction * mean).flatten(1).sum(1)]
        for _ in range(1, order):
            slope = _gradient(found[-1], leaf)
            found.append(gain * (direction * slope).flatten(1).sum(1))
    return torch.stack(found, 1).detach()


def shape_along(prior: Prior, x: State, t: Times, direction: State) -> tuple[Times, Times]:
    """Skewness and excess kurtosis of v^T x_0 given x_t, both 0 for a Gaussian.

    Args:
        prior: any prior whose denoised image has three derivatives.
        x: states x_t, (batch, ...).
        t: times, (batch,).
        direction: v, in the shape of ``x``, along which the variance is positive.

    Raises:
        MedscoreError: the denoised image has no derivative.
    """
    _, variance, third, fourth = cumulants(prior, x, t, direction, 4).unbind(1)
    return third / variance**1.5, fourth / variance**2


def _start(prior: Prior, x: State, t: Times) -> tuple[State, State]:
    leaf, mean = differentiable(prior, x, t)
    check_graph(mean, prior)
    return leaf, mean


def _gradient(values: Times, leaf: State) -> Tensor:
    """The gradient of each sample's value, with its graph; zero where it does not depend on x."""
    if not values.requires_grad:
        return torch.zeros_like(leaf)
    (found,) = torch.autograd.grad(values.sum(), leaf, create_graph=True, materialize_grads=True)
    return found

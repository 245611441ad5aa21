r"""Exact score matching for data of few dimensions (Hyvarinen 2005; Song et al. 2022, Eq. 3.2).

.. math:: J(\theta) = E \left[ \operatorname{tr}(\nabla_x s_\theta(x))
          + \tfrac12 \| s_\theta(x) \|^2 \right],

is the Fisher divergence :math:`\frac12 E \| s_\theta - \nabla \log p \|^2` (Eq. 3.1) up to a
constant, and does not involve the score of the data. The loss is a sum over the D components of a
sample and includes the factor 1/2.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from medscore.types import State, Times

Score = Callable[[State], State]
"""A score model s(x) of independent samples; at a time t, ``lambda x: prior.score(x, t)``."""


def exact_score_matching(score: Score, x: State) -> Times:
    """The integrand of Eq. 3.2 for each sample, (batch,), with the graph to the parameters.

    It takes D backward passes; :mod:`medscore.objectives.sliced` takes one for each direction.

    Args:
        score: the score model.
        x: data (batch, ...), which receive no gradient.
    """
    with torch.enable_grad():
        s, leaf = at(score, x)
        loss = half_square(s)
        for i in range(leaf[0].numel()):
            axis = torch.zeros_like(leaf)
            axis.flatten(1)[:, i] = 1
            loss = loss + quadratic_form(s, leaf, axis)
    return respect_no_grad(loss)


def at(score: Score, x: State) -> tuple[State, State]:
    """Evaluate a score model for differentiation by its argument.

    Args:
        score: the score model.
        x: data (batch, ...).

    Returns:
        s(x), and the leaf tensor that it is a function of.
    """
    leaf = x.detach().requires_grad_()
    return score(leaf), leaf


def quadratic_form(s: State, x: State, v: State) -> Times:
    r"""The form :math:`v^T \nabla_x s\, v` of each sample, by one differentiable backward pass.

    Args:
        s: the score at ``x`` (:func:`at`).
        x: the leaf tensor (batch, ...).
        v: directions of the shape of ``x``.
    """
    (row,) = torch.autograd.grad(s, x, v, create_graph=True, materialize_grads=True)
    return (row * v).flatten(1).sum(1)


def respect_no_grad(loss: Times) -> Times:
    """The loss, detached from its graph if the caller has disabled gradients.

    Args:
        loss: loss of each sample, (batch,).
    """
    return loss if torch.is_grad_enabled() else loss.detach()


def half_square(s: State) -> Times:
    r"""Half the squared norm, :math:`\tfrac12 \| s \|^2`, of each sample, (batch,).

    Args:
        s: score (batch, ...).
    """
    return 0.5 * s.flatten(1).square().sum(1)

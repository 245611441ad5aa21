r"""Exact score matching (Hyvarinen 2005; Song et al. 2022, Eq. 3.2), for few dimensions.

.. math:: J(\theta) = E \left[ \operatorname{tr}(\nabla_x s_\theta(x))
          + \tfrac12 \| s_\theta(x) \|^2 \right],

the Fisher divergence :math:`\frac12 E \| s_\theta - \nabla \log p \|^2` (Eq. 3.1) up to a constant:
the data's own score is not needed. A loss is a sum over the sample's D numbers, with the one half.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from medscore.types import State, Times

Score = Callable[[State], State]
"""s(x), each sample by itself; at a diffusion time t: ``lambda x: prior.score(x, t)``."""


def exact_score_matching(score: Score, x: State) -> Times:
    """Eq. 3.2's integrand at each sample, shape (batch,), with the graph to the parameters.

    It costs D backward passes; :mod:`medscore.objectives.sliced` needs one.

    Args:
        x: the data, held fixed: no gradient flows into them.
    """
    with torch.enable_grad():
        s, leaf = at(score, x)
        loss = half_square(s)
        for i in range(leaf[0].numel()):
            axis = torch.zeros_like(leaf)
            axis.flatten(1)[:, i] = 1
            loss = loss + quadratic_form(s, leaf, axis)
    return as_asked(loss)


def at(score: Score, x: State) -> tuple[State, State]:
    """s(x), and the leaf it was taken at, to be differentiated by."""
    leaf = x.detach().requires_grad_()
    return score(leaf), leaf


def quadratic_form(s: State, x: State, v: State) -> Times:
    r""":math:`v^T \nabla_x s\, v` of each sample, by one backward pass that can be differentiated.

    Args:
        s: the score at the leaf ``x``, as from :func:`at`.
    """
    (row,) = torch.autograd.grad(s, x, v, create_graph=True, materialize_grads=True)
    return (row * v).flatten(1).sum(1)


def as_asked(loss: Times) -> Times:
    """The loss without its graph where the caller has switched gradients off."""
    return loss if torch.is_grad_enabled() else loss.detach()


def half_square(s: State) -> Times:
    r""":math:`\tfrac12 \| s \|^2` of each sample."""
    return 0.5 * s.flatten(1).square().sum(1)

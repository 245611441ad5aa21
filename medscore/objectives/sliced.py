r"""Sliced score matching for data of many dimensions (Song et al. 2022, Eq. 3.7 and 3.8).

.. math:: \frac1M \sum_j v_j^T \nabla_x s_\theta(x) v_j + \tfrac12 (v_j^T s_\theta(x))^2,
          \qquad \frac1M \sum_j v_j^T \nabla_x s_\theta(x) v_j + \tfrac12 \| s_\theta(x) \|^2.

With E[v] = 0 and Cov[v] = I both have the expectation of Eq. 3.2, and thus the gradient of the
Fisher divergence. The loss is a sum over the D components of a sample and includes the factor 1/2.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from medscore.objectives.score_matching import (
    Score,
    at,
    half_square,
    quadratic_form,
    respect_no_grad,
)
from medscore.types import State, Times

Projections = Float[Tensor, "count batch *shape"]
"""M directions for each sample."""

Projection = Callable[[State, int, torch.Generator], Projections]
"""Draws M directions for each sample of a batch."""


def sliced_score_matching(score: Score, x: State, v: Projections) -> Times:
    """SSM: Eq. 3.7 for each sample, (batch,), with the graph to the parameters.

    Args:
        score: the score model.
        x: data (batch, ...), which receive no gradient.
        v: directions (count, batch, ...); each takes a backward pass.
    """
    with torch.enable_grad():
        s, leaf = at(score, x)
        along = (v * s).flatten(2).sum(2)
        forms = torch.stack([quadratic_form(s, leaf, direction) for direction in v])
        loss = (forms + 0.5 * along**2).mean(0)
    return respect_no_grad(loss)


def sliced_score_matching_vr(score: Score, x: State, v: Projections) -> Times:
    """SSM-VR: Eq. 3.8 for each sample, (batch,), in which the square is integrated over v.

    At the exact score of N(0, I) and with M = 1, the variance of Eq. 3.7 divided by that of Eq. 3.8
    is (D + 3) / 5 with :func:`gaussian`, and D with :func:`rademacher` and :func:`sphere`.

    Args:
        score: the score model.
        x: data (batch, ...), which receive no gradient.
        v: directions (count, batch, ...); each takes a backward pass.
    """
    with torch.enable_grad():
        s, leaf = at(score, x)
        forms = torch.stack([quadratic_form(s, leaf, direction) for direction in v])
        loss = forms.mean(0) + half_square(s)
    return respect_no_grad(loss)


def gaussian(like: State, count: int, generator: torch.Generator) -> Projections:
    """Directions from N(0, I), drawn on the CPU.

    Args:
        like: data (batch, ...).
        count: number of directions for each sample.
        generator: generator of the draws.
    """
    return torch.randn((count, *like.shape), generator=generator, dtype=like.dtype).to(like)


def rademacher(like: State, count: int, generator: torch.Generator) -> Projections:
    """Directions with independent random signs, exact where the Jacobian of the score is diagonal.

    Args:
        like: data (batch, ...).
        count: number of directions for each sample.
        generator: generator of the draws.
    """
    return 2 * torch.randint(2, (count, *like.shape), generator=generator).to(like) - 1


def sphere(like: State, count: int, generator: torch.Generator) -> Projections:
    """Directions uniform on the sphere of radius sqrt(D), for which Cov[v] = I.

    (The unit sphere of the text has Cov[v] = I / D.) They are exact where the Jacobian of the score
    is a multiple of I.

    Args:
        like: data (batch, ...).
        count: number of directions for each sample.
        generator: generator of the draws.
    """
    z = gaussian(like, count, generator).flatten(2)
    v: Tensor = math.sqrt(z.shape[2]) * z / torch.linalg.vector_norm(z, dim=2, keepdim=True)
    return v.reshape(count, *like.shape)

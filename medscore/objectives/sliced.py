r"""Sliced score matching (Song et al. 2022, Eq. 3.7 and 3.8), for many dimensions.

.. math:: \frac1M \sum_j v_j^T \nabla_x s_\theta(x) v_j + \tfrac12 (v_j^T s_\theta(x))^2,
          \qquad \frac1M \sum_j v_j^T \nabla_x s_\theta(x) v_j + \tfrac12 \| s_\theta(x) \|^2.

With E[v] = 0 and Cov[v] = I both have the expectation of Eq. 3.2, and so the gradient of the Fisher
divergence. As there, a loss is a sum over the sample's D numbers, with the one half.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from medscore.objectives.score_matching import (
    Score,
    as_asked,
    at,
    half_square,
    quadratic_form,
)
from medscore.types import State, Times

Projections = Float[Tensor, "count batch *shape"]
"""M directions per sample."""

Projection = Callable[[State, int, torch.Generator], Projections]
"""Draws M directions for each sample of a batch."""


def sliced_score_matching(score: Score, x: State, v: Projections) -> Times:
    """SSM: Eq. 3.7's summand at each sample, shape (batch,), with the graph to the parameters.

    Args:
        x: the data, held fixed. v: the directions; each costs a backward pass.
    """
    with torch.enable_grad():
        s, leaf = at(score, x)
        along = (v * s).flatten(2).sum(2)
        forms = torch.stack([quadratic_form(s, leaf, direction) for direction in v])
        loss = (forms + 0.5 * along**2).mean(0)
    return as_asked(loss)


def sliced_score_matching_vr(score: Score, x: State, v: Projections) -> Times:
    """SSM-VR: Eq. 3.8's summand, the square integrated over v; arguments as for Eq. 3.7.

    At the exact score of N(0, I) and with M = 1, the variance of Eq. 3.7 over that of this one is
    (D + 3) / 5 with :func:`gaussian`, D with :func:`rademacher` and :func:`sphere`.
    """
    with torch.enable_grad():
        s, leaf = at(score, x)
        forms = torch.stack([quadratic_form(s, leaf, direction) for direction in v])
        loss = forms.mean(0) + half_square(s)
    return as_asked(loss)


def gaussian(like: State, count: int, generator: torch.Generator) -> Projections:
    """v ~ N(0, I), drawn on the CPU."""
    return torch.randn((count, *like.shape), generator=generator, dtype=like.dtype).to(like)


def rademacher(like: State, count: int, generator: torch.Generator) -> Projections:
    """Independent signs: exact where the Jacobian of the score is diagonal."""
    return 2 * torch.randint(2, (count, *like.shape), generator=generator).to(like) - 1


def sphere(like: State, count: int, generator: torch.Generator) -> Projections:
    """Uniform on the sphere of radius sqrt(D), for which Cov[v] = I; the text's unit sphere has
    I / D. Exact where the Jacobian is a multiple of I.
    """
    z = gaussian(like, count, generator).flatten(2)
    v: Tensor = math.sqrt(z.shape[2]) * z / torch.linalg.vector_norm(z, dim=2, keepdim=True)
    return v.reshape(count, *like.shape)

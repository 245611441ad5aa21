r"""The classical peer: least squares with total variation by FISTA (Beck and Teboulle 2009),

.. math:: \min_{x \ge low} \tfrac12 \|y - A x\|^2 / |A|^2 + \mathrm{weight}\;TV(x),

TV isotropic, its proximal step by the dual projected gradient method of the same paper.
"""

from __future__ import annotations

import torch
from torch import Tensor

from medscore.operators.base import Operator


def fista_tv(
    operator: Operator,
    y: Tensor,
    weight: float,
    *,
    iterations: int = 300,
    inner: int = 15,
    low: float = 0.0,
) -> Tensor:
    """The minimiser from zero, after ``iterations`` steps, of images (batch, 1, H, W)."""
    size = float(1.02 * operator.norm_squared(y).max())
    x = torch.zeros_like(operator.adjoint(y))
    ahead, momentum, dual = x, 1.0, None
    for _ in range(iterations):
        gradient = operator.adjoint(operator.forward(ahead) - y) / size
        fitted, dual = prox_tv(ahead - gradient, weight, dual, steps=inner)
        fitted = fitted.clamp_min(low)
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = fitted + (momentum - 1) / following * (fitted - x)
        x, momentum = fitted, following
    return x


def prox_tv(
    image: Tensor, weight: float, dual: Tensor | None, *, steps: int
) -> tuple[Tensor, Tensor]:
    """argmin of 1/2 |x - image|^2 + weight TV(x), and the dual field to start from next time."""
    p = torch.zeros(2, *image.shape).to(image) if dual is None else dual
    q, momentum = p, 1.0
    for _ in range(steps):
        rise = _gradient(image - weight * _gradient_adjoint(q))
        moved = q + rise / (8 * weight)
        following = moved / moved.square().sum(0).sqrt().clamp_min(1.0)
        ahead = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        q = following + (momentum - 1) / ahead * (following - p)
        p, momentum = following, ahead
    return image - weight * _gradient_adjoint(p), p


def _gradient(x: Tensor) -> Tensor:
    down, right = torch.zeros_like(x), torch.zeros_like(x)
    down[..., :-1, :] = x[..., 1:, :] - x[..., :-1, :]
    right[..., :-1] = x[..., 1:] - x[..., :-1]
    return torch.stack([down, right])


def _gradient_adjoint(p: Tensor) -> Tensor:
    down, right = p
    x = torch.zeros_like(down)
    x[..., :-1, :] -= down[..., :-1, :]
    x[..., 1:, :] += down[..., :-1, :]
    x[..., :-1] -= right[..., :-1]
    x[..., 1:] += right[..., :-1]
    return x

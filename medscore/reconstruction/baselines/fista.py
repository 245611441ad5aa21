r"""The fast iterative shrinkage-thresholding algorithm, FISTA (Beck and Teboulle 2009a).

It minimises :math:`\tfrac12 \|y - A x\|^2 / |A|^2 + g(x)` by accelerated proximal gradient steps,

.. math:: x_k = \mathrm{prox}_{\tau g}\big(z_k - \tau A^H (A z_k - y) / |A|^2\big), \qquad
          z_{k+1} = x_k + \frac{t_k - 1}{t_{k+1}} (x_k - x_{k-1}), \qquad
          t_{k+1} = \tfrac12 \big(1 + \sqrt{1 + 4 t_k^2}\big).

The momentum is restarted with t = 1 if it increases the objective, :math:`\langle z_k - x_k, x_k -
x_{k-1} \rangle > 0` (the gradient scheme of O'Donoghue and Candes 2015). Step size, momentum and
stopping are separate for each sample, so results do not depend on the batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from medscore.operators.base import Operator, norm
from medscore.operators.linalg import dot, wide

STEP = 0.98
r"""The step size tau, less than 1 because power iteration approaches |A| from below."""


def fista(
    operator: Operator,
    y: Tensor,
    prox: Callable[[Tensor], Tensor],
    *,
    iterations: int,
    tolerance: float = 0.0,
) -> Tensor:
    """Minimise the objective by FISTA, starting from zero.

    Args:
        operator: A.
        y: measurements (batch, ...).
        prox: proximal map of ``STEP`` times g for each sample; it may keep state.
        iterations: largest number of iterations, each with one application of A and of A^H.
        tolerance: relative change of a sample below which its iteration stops.

    Returns:
        Images (batch, 1, H, W), real or complex.
    """
    y = operator.mask(y) * y
    x = torch.zeros_like(operator.adjoint(y))
    size = wide(operator.norm_squared(y), x)
    z, t = x, torch.ones_like(norm(x))
    active = torch.ones_like(t, dtype=torch.bool)
    for _ in range(iterations):
        gradient = operator.adjoint(operator.forward(z) - y) / size
        fitted = prox(z - STEP * gradient)
        uphill = dot(z - fitted, fitted - x) > 0
        t = torch.where(uphill, 1.0, t)
        following = (1 + torch.sqrt(1 + 4 * t**2)) / 2
        change = norm(fitted - z)
        z = fitted + wide((t - 1) / following, x) * (fitted - x)
        x, t = torch.where(_wide(active, x), fitted, x), following
        active = active & (change > tolerance * norm(fitted))
        if not bool(active.any()):
            break
    return x


def _wide(chosen: Tensor, like: Tensor) -> Tensor:
    """Add axes to a mask of samples (batch,), so that it broadcasts to ``like``."""
    return chosen.reshape(-1, *(1,) * (like.ndim - 1))

r"""The shortest x with :math:`|b - A x| \le \rho`: a projection, so rounding is not amplified.

The set of such x is convex, and the projection onto a convex set is non-expansive. That holds for
any A, however close to singular. It does not hold for least squares stopped early, whose solution
is not a Lipschitz function of b.

With a multiplier :math:`1 / \delta` the minimiser is Tikhonov's,

.. math:: x(\delta) = A^H (A A^H + \delta I)^{-1} b, \qquad |b - A x(\delta)| = \rho,

and :math:`|b - A x(\delta)|` increases with delta. The solution is sought in the Krylov space of
the bidiagonalisation by Golub and Kahan 1965, where A is a (k + 1) x k matrix, so that evaluating a
further delta is cheap (Bjorck 1988; Calvetti and Reichel 2003).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from medscore.operators.linalg import Solution, wide

FLOOR = 1e-5
"""Smallest sqrt(delta), relative to the largest singular value; below it is rounding error."""

EVERY = 5
"""Number of iterations between two solutions of the small problem."""


def project_onto_ball(
    forward: Callable[[Tensor], Tensor],
    adjoint: Callable[[Tensor], Tensor],
    b: Tensor,
    *,
    radius: Tensor,
    accuracy: Tensor,
    max_iter: int = 100,
) -> Solution:
    """The x of least norm with |b - A x| <= radius.

    If no x reaches the radius, the x of least residual up to rounding; the solution states the
    residual reached, relative to b.

    Args:
        forward: A on batched arrays.
        adjoint: the adjoint of A.
        b: right-hand sides, (batch, ...).
        radius: rho for each sample, (batch,).
        accuracy: error |x - x(delta)| at which a sample is frozen, (batch,).
        max_iter: maximum number of iterations; each keeps one image batch in memory.
    """
    u, size = _unit(b, 0.0)
    v, alpha = _unit(adjoint(u), 0.0)
    least = 10 * torch.finfo(alpha.dtype).eps * alpha
    basis = v.new_empty(max_iter + 1, *v.shape).flatten(2)
    small = torch.zeros(len(b), max_iter + 1, max_iter, dtype=torch.float64, device=b.device)
    x, residual = torch.zeros_like(v), torch.ones_like(size)
    waiting = size > radius
    k = 0
    while k < max_iter and bool(waiting.any()):
        basis[k] = v.flatten(1)
        u, beta = _unit(forward(v) - wide(alpha, u) * u, least)
        small[:, k, k], small[:, k + 1, k] = alpha.double(), beta.double()
        k += 1
        v = adjoint(u) - wide(beta, v) * v
        shares = torch.einsum("kbn,bn->kb", basis[:k].conj(), v.flatten(1))
        v = v - torch.einsum("kb,kbn->bn", shares, basis[:k]).view_as(v)
        v, alpha = _unit(v, least)
        if k % EVERY and k < max_iter:
            continue
        z, delta, reached = _small(small[:, : k + 1, :k], size.double(), radius.double())
        error = alpha * beta * z[:, -1].abs() / delta
        ready = waiting & ((error <= accuracy) | (k == max_iter))
        found = torch.einsum("bk,kbn->bn", z.to(basis.dtype), basis[:k]).view_as(x)
        x = torch.where(wide(ready, x).bool(), found, x)
        residual = torch.where(ready, (reached / size).to(residual.dtype), residual)
        waiting = waiting & ~ready
    return Solution(x, residual, k)


def _small(matrix: Tensor, size: Tensor, radius: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """z, delta and |size e_1 - B z| of each sample, by bisection in log delta."""
    left, s, right = torch.linalg.svd(matrix, full_matrices=True)
    c = size[:, None] * left[:, 0, :]
    inside, outside = c[:, :-1], c[:, -1]

    def gap(delta: Tensor) -> Tensor:
        kept = delta[:, None] / (s**2 + delta[:, None]) * inside
        return torch.sqrt((kept**2).sum(1) + outside**2)

    top = s[:, 0].clamp_min(1e-30)
    low, high = torch.log(FLOOR * top), torch.log(1e6 * top)
    for _ in range(60):
        middle = (low + high) / 2
        far = gap(torch.exp(2 * middle)) > radius
        low, high = torch.where(far, low, middle), torch.where(far, middle, high)
    delta = torch.exp(2 * low)
    z = torch.einsum("bkn,bk->bn", right, s / (s**2 + delta[:, None]) * inside)
    return z, delta, gap(delta)


def _unit(a: Tensor, least: Tensor | float) -> tuple[Tensor, Tensor]:
    """Each sample normalised, and its length; a length below ``least`` is rounding error and counts
    as zero, which means that the Krylov space is complete.
    """
    length = torch.linalg.vector_norm(a.flatten(1), dim=1)
    length = torch.where(length > least, length, 0.0)
    return a * wide(torch.where(length > 0, 1 / length, 0.0), a), length

"""Iterative linear solvers on batches; the samples of a batch do not influence each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

BASIS = 32
"""Number of gradients kept for reorthogonalisation; each takes the memory of an image batch."""


@dataclass(frozen=True)
class Solution:
    """A least-squares solution.

    Attributes:
        x: the solution, (batch, ...).
        residual: |b - A x| / |b| of each sample, (batch,).
        iterations: number of iterations of the slowest sample.
    """

    x: Tensor
    residual: Tensor
    iterations: int


def cgls(
    forward: Callable[[Tensor], Tensor],
    adjoint: Callable[[Tensor], Tensor],
    b: Tensor,
    *,
    tol: float | Tensor,
    max_iter: int,
    least: float = 0.0,
) -> Solution:
    """Least-norm solution of min |b - A x|, from x = 0 (Hestenes and Stiefel 1952).

    In exact arithmetic the gradients A^T r are orthogonal. Rounding destroys that within ten or
    twenty iterations, after which two runs that differ in the last digit diverge; so each gradient
    is orthogonalised against the first ``BASIS`` ones again.

    A sample is frozen once its residual has fallen to ``tol`` |b| or its gradient to ``0.001 tol``
    of the first one, so results do not depend on the rest of the batch.

    Args:
        forward: A on batched arrays.
        adjoint: the adjoint of A.
        b: right-hand sides, (batch, ...).
        tol: relative tolerance, one number or one per sample.
        max_iter: maximum number of iterations.
        least: gradient, relative to the first one, below which there is only rounding error.
    """
    r = b
    gradient = adjoint(r)
    basis = gradient.new_empty(min(BASIS, max_iter + 1), *gradient.shape).flatten(2)
    basis[0] = _unit(gradient).flatten(1)
    kept = 1
    x, p = torch.zeros_like(gradient), gradient
    gamma = dot(gradient, gradient)
    b_norm2, first = dot(b, b), gamma
    tol2 = torch.as_tensor(tol, dtype=gamma.dtype, device=b.device) ** 2
    iteration = 0
    for iteration in range(max_iter + 1):
        active = (dot(r, r) > tol2 * b_norm2) & (
            gamma > torch.clamp_min(1e-6 * tol2, least**2) * first
        )
        if iteration == max_iter or not bool(active.any()):
            break
        q = forward(p)
        step = torch.where(active, gamma / dot(q, q).clamp_min(1e-38), 0.0)
        x = x + wide(step, x) * p
        r = r - wide(step, r) * q
        gradient = adjoint(r)
        shares = torch.einsum("kbn,bn->kb", basis[:kept].conj(), gradient.flatten(1))
        gradient = gradient - torch.einsum("kb,kbn->bn", shares, basis[:kept]).view_as(gradient)
        if kept < len(basis):
            if gradient.requires_grad:  # the graph holds the old one
                basis = basis.clone()
            basis[kept] = _unit(gradient).flatten(1)
            kept += 1
        gamma_new = dot(gradient, gradient)
        p = gradient + wide(gamma_new / gamma.clamp_min(1e-38), p) * p
        gamma = torch.where(active, gamma_new, gamma)
    relative = torch.sqrt(dot(r, r) / b_norm2.clamp_min(1e-38))
    return Solution(x, relative, iteration)


def damped(
    forward: Callable[[Tensor], Tensor],
    adjoint: Callable[[Tensor], Tensor],
    b: Tensor,
    damping: Tensor,
    *,
    max_iter: int,
) -> Tensor:
    r"""The minimiser of :math:`|b - A x|^2 + \delta |x|^2`, by :func:`cgls` on A with
    :math:`\sqrt\delta I` below it.

    Args:
        forward: A on batched arrays.
        adjoint: the adjoint of A.
        b: right-hand sides, (batch, ...); they may be complex where x is real.
        damping: delta for each sample, (batch,).
        max_iter: maximum number of iterations.
    """
    like = adjoint(b)
    root = wide(damping.to(like.dtype.to_real() if like.is_complex() else like.dtype).sqrt(), like)
    numbers = _real(b)[0].numel()

    def stacked(x: Tensor) -> Tensor:
        return torch.cat([_real(forward(x)).flatten(1), _real(root * x).flatten(1)], 1)

    def unstacked(z: Tensor) -> Tensor:
        above, below = z[:, :numbers], z[:, numbers:]
        return adjoint(_like(above, b)) + root * _like(below, like)

    above = _real(b).flatten(1)
    right = torch.cat([above, above.new_zeros(len(b), _real(like)[0].numel())], 1)
    least = 10 * torch.finfo(right.dtype).eps
    return cgls(stacked, unstacked, right, tol=0.0, max_iter=max_iter, least=least).x


def conjugate_gradients(
    apply: Callable[[Tensor], Tensor], b: Tensor, *, tol: float, max_iter: int
) -> Tensor:
    """The solution of M x = b for a symmetric positive M, from zero (Hestenes and Stiefel 1952).

    A sample is frozen once its residual has fallen to ``tol`` |b|, or once a direction has no
    positive curvature, as can happen if M is only approximately symmetric.

    Args:
        apply: M on batched arrays.
        b: right-hand sides, (batch, ...).
        tol: relative residual to reach.
        max_iter: maximum number of iterations.
    """
    x, r, p = torch.zeros_like(b), b, b
    rho, still = dot(b, b), tol**2 * dot(b, b)
    active = rho > still
    for _ in range(max_iter):
        if not bool(active.any()):
            break
        q = apply(p)
        curvature = dot(p, q)
        active = active & (curvature > 0)
        step = torch.where(active, rho / torch.where(active, curvature, 1.0), 0.0)
        x, r = x + wide(step, x) * p, r - wide(step, r) * q
        rho_next = dot(r, r)
        p = r + wide(rho_next / rho.clamp_min(1e-38), p) * p
        rho, active = rho_next, active & (rho_next > still)
    return x


def chebyshev(
    apply: Callable[[Tensor], Tensor], b: Tensor, *, low: float, high: float, steps: int
) -> Tensor:
    """Approximate solution of M x = b by a fixed polynomial in M (Golub and Varga 1961).

    It is linear in ``b`` and starts from x = b, which suits an M close to the identity. Components
    with an eigenvalue in [low, high] keep at most
    1 / cosh(steps arccosh((high + low) / (high - low))) of their initial error.

    Args:
        apply: M, with real positive eigenvalues.
        b: right-hand side.
        low: lower end of the interval of eigenvalues.
        high: upper end of the interval of eigenvalues.
        steps: number of steps, the degree of the polynomial.
    """
    centre, radius = (high + low) / 2, (high - low) / 2
    x, remainder = b, b - apply(b)
    change, rho = remainder / centre, radius / centre
    for step in range(steps):
        x = x + change
        if step == steps - 1:
            break
        remainder = remainder - apply(change)
        rho_next = 1 / (2 * centre / radius - rho)
        change = rho_next * rho * change + (2 * rho_next / radius) * remainder
        rho = rho_next
    return x


def largest_eigenvalue(
    apply: Callable[[Tensor], Tensor], start: Tensor, *, steps: int = 30
) -> Tensor:
    """Lower estimates of the largest eigenvalue of M by power iteration, (batch,).

    Args:
        apply: M, symmetric and positive.
        start: initial vectors (batch, ...), not zero.
        steps: number of iterations.
    """
    v = start
    for _ in range(steps):
        v = apply(v / wide(norm(v), v))
    return norm(v)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """The real inner product of each sample of two batches (batch, ...), as (batch,).

    Args:
        a: real or complex arrays.
        b: arrays of the same shape.
    """
    product = (a.conj() * b).real if a.is_complex() else a * b
    return product.flatten(1).sum(1)


def _unit(a: Tensor) -> Tensor:
    return a / wide(torch.sqrt(dot(a, a)).clamp_min(1e-30), a)


def norm(z: Tensor) -> Tensor:
    """The Euclidean norm of each sample of ``z`` (batch, ...), as (batch,)."""
    length: Tensor = torch.linalg.vector_norm(z.flatten(1), dim=1)
    return length


def wide(value: Tensor, like: Tensor) -> Tensor:
    """One value per sample, (batch,), with the axes to multiply ``like``.

    Args:
        value: (batch,).
        like: an array (batch, ...) whose number of axes and dtype the result takes.
    """
    return value.reshape(-1, *(1,) * (like.ndim - 1)).to(like.dtype)


def _real(a: Tensor) -> Tensor:
    """Complex numbers as pairs of real numbers."""
    return torch.view_as_real(a) if a.is_complex() else a


def _like(flat: Tensor, like: Tensor) -> Tensor:
    """Undo ``_real(like).flatten(1)``."""
    if like.is_complex():
        return torch.view_as_complex(flat.reshape(*like.shape, 2).contiguous())
    return flat.reshape(like.shape)

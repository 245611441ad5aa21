"""Linear solvers on batches, in which no sample sees another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

BASIS = 32
"""Gradients kept for reorthogonalisation: memory of as many image batches."""


@dataclass(frozen=True)
class Solution:
    """A least-squares solution.

    Attributes:
        x: the solution. residual: |b - A x| / |b| of each sample. iterations: the most any took.
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

    In exact arithmetic the gradients A^T r are orthogonal. Rounding undoes that within ten or
    twenty iterations, after which two runs that differ in the last digit part ways; so each
    gradient is made orthogonal to the first ``BASIS`` ones again.

    A sample whose residual falls to ``tol`` of |b|, or whose gradient falls to ``0.001 tol`` of
    the first, stands still from then on, so results do not depend on the batch.

    Args:
        forward, adjoint: A and its adjoint on batched arrays.
        b: right-hand sides, (batch, ...).
        tol: relative tolerance, one number or one per sample.
        least: share of the first gradient under which there is but rounding.
    """
    r = b
    gradient = adjoint(r)
    basis = gradient.new_empty(min(BASIS, max_iter + 1), *gradient.shape).flatten(2)
    basis[0] = _unit(gradient).flatten(1)
    kept = 1
    x, p = torch.zeros_like(gradient), gradient
    gamma = _dot(gradient, gradient)
    b_norm2, first = _dot(b, b), gamma
    tol2 = torch.as_tensor(tol, dtype=gamma.dtype, device=b.device) ** 2
    iteration = 0
    for iteration in range(max_iter + 1):
        active = (_dot(r, r) > tol2 * b_norm2) & (
            gamma > torch.clamp_min(1e-6 * tol2, least**2) * first
        )
        if iteration == max_iter or not bool(active.any()):
            break
        q = forward(p)
        step = torch.where(active, gamma / _dot(q, q).clamp_min(1e-38), 0.0)
        x = x + wide(step, x) * p
        r = r - wide(step, r) * q
        gradient = adjoint(r)
        shares = torch.einsum("kbn,bn->kb", basis[:kept].conj(), gradient.flatten(1))
        gradient = gradient - torch.einsum("kb,kbn->bn", shares, basis[:kept]).view_as(gradient)
        if kept < len(basis):
            basis[kept] = _unit(gradient).flatten(1)
            kept += 1
        gamma_new = _dot(gradient, gradient)
        p = gradient + wide(gamma_new / gamma.clamp_min(1e-38), p) * p
        gamma = torch.where(active, gamma_new, gamma)
    relative = torch.sqrt(_dot(r, r) / b_norm2.clamp_min(1e-38))
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
        forward, adjoint, b: as in :func:`cgls`; ``b`` may be complex where x is real.
        damping: delta, one for each sample (batch,).
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
    """``max_iter`` steps, from zero, towards x with M x = b for a symmetric positive M (Hestenes
    and Stiefel 1952). A sample stands still once its residual is ``tol`` of |b|, or once M shows it
    a direction of no positive curvature, as an M that is only nearly symmetric may.
    """
    x, r, p = torch.zeros_like(b), b, b
    rho, still = _dot(b, b), tol**2 * _dot(b, b)
    active = rho > still
    for _ in range(max_iter):
        if not bool(active.any()):
            break
        q = apply(p)
        curvature = _dot(p, q)
        active = active & (curvature > 0)
        step = torch.where(active, rho / torch.where(active, curvature, 1.0), 0.0)
        x, r = x + wide(step, x) * p, r - wide(step, r) * q
        rho_next = _dot(r, r)
        p = r + wide(rho_next / rho.clamp_min(1e-38), p) * p
        rho, active = rho_next, active & (rho_next > still)
    return x


def chebyshev(
    apply: Callable[[Tensor], Tensor], b: Tensor, *, low: float, high: float, steps: int
) -> Tensor:
    """x with M x = b nearly, by a fixed polynomial in M: linear in ``b`` (Golub and Varga 1961).

    Starts from x = b, which suits an M near the identity. What M scales by a factor in [low, high]
    is off by at most 1 / cosh(steps arccosh((high + low) / (high - low))) of the first error.

    Args:
        apply: M, with real positive eigenvalues.
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
) -> float:
    """The largest eigenvalue of M, by power iteration; from below."""
    v, value = start / torch.linalg.vector_norm(start), 1.0
    for _ in range(steps):
        w = apply(v)
        value = float(torch.linalg.vector_norm(w))
        v = w / value
    return value


def _dot(a: Tensor, b: Tensor) -> Tensor:
    product = (a.conj() * b).real if a.is_complex() else a * b
    return product.flatten(1).sum(1)


def _unit(a: Tensor) -> Tensor:
    return a / wide(torch.sqrt(_dot(a, a)).clamp_min(1e-30), a)


def norm(z: Tensor) -> Tensor:
    """The Euclidean norm of each sample, (batch,)."""
    length: Tensor = torch.linalg.vector_norm(z.flatten(1), dim=1)
    return length


def wide(value: Tensor, like: Tensor) -> Tensor:
    """A value for each sample (batch,), with the axes to multiply ``like``."""
    return value.reshape(-1, *(1,) * (like.ndim - 1)).to(like.dtype)


def _real(a: Tensor) -> Tensor:
    """Complex numbers as pairs of real ones."""
    return torch.view_as_real(a) if a.is_complex() else a


def _like(flat: Tensor, like: Tensor) -> Tensor:
    """Undo ``_real(like).flatten(1)``."""
    if like.is_complex():
        return torch.view_as_complex(flat.reshape(*like.shape, 2).contiguous())
    return flat.reshape(like.shape)

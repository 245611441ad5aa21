r"""Functions of symmetric matrices from products with vectors: Lanczos' method.

In the Krylov space of order m, spanned by :math:`v, A v, \dots, A^{m-1} v` with the orthonormal
basis Q, the matrix is the tridiagonal :math:`T = Q^T A Q`, and

.. math:: f(A) v \approx |v| \, Q f(T) e_1

(Golub and Van Loan, Matrix Computations, section 10.2). It is exact for a matrix with at most m
distinct eigenvalues.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from medscore.sdes.base import expand
from medscore.types import State

Function = Callable[[Tensor], Tensor]
"""A function of eigenvalues (batch, ...), one by one."""

NEGLIGIBLE = 1e-6
"""Relative length of a new direction below which the Krylov space is taken as complete."""


def matrix_function(
    product: Callable[[State], State], v: State, order: int
) -> Callable[[Function], Tensor]:
    """The map f -> f(A) v, from one Krylov space for all functions f.

    Args:
        product: multiplies vectors (batch, ...) by the symmetric matrices A.
        v: vectors, (batch, ...).
        order: largest dimension m of the Krylov space; one product each.
    """
    norm = v.flatten(1).norm(dim=1)
    basis = [_divided(v, norm)]
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    size = torch.zeros_like(norm)
    for _ in range(min(order, v[0].numel())):
        w = product(basis[-1])
        diagonal.append(_dot(basis[-1], w))
        for _ in range(2):  # once more, against the rounding of the first time
            for q in basis:
                w = w - expand(_dot(q, w), w) * q
        length = w.flatten(1).norm(dim=1)
        size = torch.maximum(size, diagonal[-1].abs() + length)
        length = torch.where(length > NEGLIGIBLE * size, length, torch.zeros_like(length))
        beside.append(length)
        basis.append(_divided(w, length))
    t = torch.diag_embed(torch.stack(diagonal, 1))
    if len(diagonal) > 1:
        edge = torch.stack(beside[:-1], 1)
        t = t + torch.diag_embed(edge, 1) + torch.diag_embed(edge, -1)
    values, vectors = torch.linalg.eigh(t)
    q = torch.stack(basis[:-1], 1)

    def apply(f: Function) -> Tensor:
        weights = torch.einsum("bij,bj,bj->bi", vectors, f(values), vectors[:, 0])
        return expand(norm, v) * torch.einsum("bi,bi...->b...", weights, q)

    return apply


def _dot(a: State, b: State) -> Tensor:
    return (a * b).flatten(1).sum(1)


def _divided(v: State, norm: Tensor) -> Tensor:
    """The vectors divided by their norms; zero where the norm is zero."""
    safe = torch.where(norm > 0, norm, torch.ones_like(norm))
    return torch.where(expand(norm > 0, v), v / expand(safe, v), torch.zeros_like(v))

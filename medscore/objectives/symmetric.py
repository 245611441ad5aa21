"""Symmetric matrices of a batch of images: a diagonal plus multiples of outer products.

Norms, entries and quadratic forms have closed forms without a D x D matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medscore.types import State, Times
from medscore.uncertainty.low_rank import DiagonalLowRank


@dataclass(frozen=True)
class Symmetric:
    r"""Symmetric matrices :math:`\operatorname{diag}(d) + \sum_j c_j u_j u_j^T` of a batch.

    Attributes:
        diagonal: d, (batch, D).
        vectors: u_j, (batch, count, D).
        signs: c_j, (count,).
    """

    diagonal: Tensor
    vectors: Tensor
    signs: Tensor

    @classmethod
    def of(cls, covariance: DiagonalLowRank, shift: float = 0.0) -> Symmetric:
        """A covariance plus a multiple of the identity.

        Args:
            covariance: the covariance.
            shift: the multiple.
        """
        vectors = covariance.factors.flatten(2)
        return cls(
            covariance.diagonal.flatten(1) + shift, vectors, vectors.new_ones(covariance.rank)
        )

    def plus(self, sign: float, vector: State) -> Symmetric:
        """The matrices with a further term sign v v^T.

        Args:
            sign: its coefficient.
            vector: v, (batch, ...).
        """
        vectors = torch.cat([self.vectors, vector.flatten(1)[:, None]], dim=1)
        return Symmetric(
            self.diagonal, vectors, torch.cat([self.signs, self.signs.new_tensor([sign])])
        )

    def entries(self) -> Tensor:
        """The diagonal of the matrices, (batch, D)."""
        return self.diagonal + torch.einsum("j,bjd->bd", self.signs, self.vectors.square())

    def square(self) -> Times:
        """The squared Frobenius norm, (batch,)."""
        forms = torch.einsum("bjd,bd,bjd->bj", self.vectors, self.diagonal, self.vectors)
        inner = torch.einsum("bjd,bkd->bjk", self.vectors, self.vectors).square()
        crossed = torch.einsum("j,bjk,k->b", self.signs, inner, self.signs)
        return self.diagonal.square().sum(1) + 2 * forms @ self.signs + crossed

    def form(self, v: State) -> Times:
        """The quadratic form v^T M v, (batch,).

        Args:
            v: vectors, (batch, ...).
        """
        flat = v.flatten(1)
        along = torch.einsum("bjd,bd->bj", self.vectors, flat).square()
        return (self.diagonal * flat.square()).sum(1) + along @ self.signs

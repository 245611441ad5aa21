r"""Covariance matrices of diagonal plus low rank, of images of any size.

.. math:: C = \operatorname{diag}(a) + \sum_k b_k b_k^T, \qquad a \ge 0,

is positive semi-definite by construction (Song 2022, chapter 4, for the second-order score). No
D x D matrix is ever formed: products take O(rank D), and the inverse follows from the Woodbury
identity with a rank x rank matrix,

.. math:: C^{-1} = A^{-1} - A^{-1} B (I + B^T A^{-1} B)^{-1} B^T A^{-1}.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from medscore.types import Draw, Frequencies, Spectra, State

Factors = Float[Tensor, "batch rank *shape"]
"""The vectors b_k of each sample; a rank of 0 leaves the diagonal alone."""


@dataclass(frozen=True)
class DiagonalLowRank:
    """The covariance matrices diag(a) + sum_k b_k b_k^T of a batch of images.

    Attributes:
        diagonal: a, not negative, (batch, ...).
        factors: b_k, (batch, rank, ...).
    """

    diagonal: State
    factors: Factors

    @property
    def rank(self) -> int:
        """Number of vectors b_k."""
        return self.factors.shape[1]

    @property
    def marginal(self) -> State:
        """The variance of each value: the diagonal of the matrix, with that of the factors."""
        return self.diagonal + self.factors.square().sum(1)

    def product(self, v: State) -> State:
        """The product C v, (batch, ...).

        Args:
            v: vectors in the shape of ``diagonal``.
        """
        flat, b = v.flatten(1), self.factors.flatten(2)
        along = torch.einsum("bkd,bd->bk", b, flat)
        low_rank = torch.einsum("bk,bkd->bd", along, b)
        return self.diagonal * v + low_rank.reshape(v.shape)

    def draw(self, noise: Draw) -> State:
        """Vectors drawn from N(0, C), (batch, ...).

        Args:
            noise: draws white noise in the shape of its argument.
        """
        along = noise(self.factors.flatten(2).sum(2))
        low_rank = torch.einsum("bk,bkd->bd", along, self.factors.flatten(2))
        return self.diagonal.sqrt() * noise(self.diagonal) + low_rank.reshape(self.diagonal.shape)

    def power(self, frequency: Frequencies) -> Spectra:
        """The power spectrum of diag(a) over the mean of a, which is 1.

        Args:
            frequency: in cycles per pixel.
        """
        return self.diagonal.new_ones(len(self.diagonal), len(frequency))

    def solve(self, v: State) -> State:
        """The product C^-1 v, by the Woodbury identity; a must be positive.

        Args:
            v: vectors in the shape of ``diagonal``.
        """
        a, b = self.diagonal.flatten(1), self.factors.flatten(2)
        scaled = v.flatten(1) / a
        if not self.rank:
            return scaled.reshape(v.shape)
        eye = torch.eye(self.rank, dtype=b.dtype, device=b.device)
        inner = eye + torch.einsum("bkd,bld->bkl", b / a[:, None], b)
        along = torch.einsum("bkd,bd->bk", b, scaled)
        weights = torch.linalg.solve(inner, along)
        return (scaled - torch.einsum("bk,bkd->bd", weights, b) / a).reshape(v.shape)

    def scaled(self, gain: State) -> DiagonalLowRank:
        """The covariance of the image times a positive number.

        Args:
            gain: the number for each sample, which broadcasts to ``diagonal``, (batch, 1, ...).
        """
        return DiagonalLowRank(self.diagonal * gain**2, self.factors * gain[:, None])

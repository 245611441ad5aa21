r"""The second-order score :math:`s_2 = \nabla^2 \log p_t(x)`, with functions of it times vectors.

By Eq. 4.18 (Song 2022), with the scales of any SDE,

.. math:: s_2 = \left(\frac{\alpha^2}{\sigma^2} \operatorname{Cov}[x_0 | x_t] - I\right) / \sigma^2.

The covariance is the prior's own where it has one: exact for Gaussian mixtures, learned by networks
with a second output. Otherwise it is that of automatic differentiation
(:mod:`medscore.uncertainty.covariance`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, final, runtime_checkable

import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.parameters import Count, check_fields
from medscore.priors.base import Prior
from medscore.sdes.base import expand
from medscore.types import State, Times
from medscore.uncertainty.covariance import PosteriorCovariance
from medscore.uncertainty.krylov import Function, matrix_function
from medscore.uncertainty.learned import LearnedCovariance
from medscore.white_noise import Noise

Form = Literal["full", "diagonal", "low-rank"]
"""What is used of s_2: the whole matrix, its diagonal, or a diagonal plus a matrix of low rank."""

Covariance = Tensor | LearnedCovariance
"""Cov[x_0 | x_t] of each sample: matrices (batch, D, D), or as a network predicts it."""


@runtime_checkable
class Curvature(Protocol):
    """The symmetric matrix s_2 of each sample, whose functions multiply vectors."""

    def along(self, v: State) -> Callable[[Function], Tensor]:
        """The map f -> f(s_2) v.

        Args:
            v: vectors, (batch, ...).
        """


@final
@dataclass(frozen=True)
class Dense:
    """Matrices s_2 by their eigenvalues.

    Attributes:
        values: eigenvalues, (batch, D).
        vectors: eigenvectors as columns, (batch, D, D).
    """

    values: Tensor
    vectors: Tensor

    def along(self, v: State) -> Callable[[Function], Tensor]:
        inside = torch.einsum("bde,bd->be", self.vectors, v.flatten(1))

        def apply(f: Function) -> Tensor:
            return torch.einsum("bde,be->bd", self.vectors, f(self.values) * inside).reshape(
                v.shape
            )

        return apply


@final
@dataclass(frozen=True)
class Diagonal:
    """Diagonal matrices s_2.

    Attributes:
        values: the diagonals, (batch, ...).
    """

    values: Tensor

    def along(self, v: State) -> Callable[[Function], Tensor]:
        return lambda f: f(self.values) * v


@final
@dataclass(frozen=True)
class Products:
    """Matrices s_2 that are known by their products with vectors.

    Attributes:
        product: multiplies vectors (batch, ...) by s_2.
        order: dimension of the Krylov space in which functions of s_2 are computed.
    """

    product: Callable[[State], State]
    order: int

    def along(self, v: State) -> Callable[[Function], Tensor]:
        return matrix_function(self.product, v, self.order)


@final
@dataclass(frozen=True)
class SecondOrder:
    """What is used of the second-order score, and how it is computed.

    Attributes:
        form: full, diagonal or low-rank; low-rank needs a prior with a learned covariance.
        probes: random signs that estimate the diagonal by automatic differentiation, one backward
            pass each.
        order: dimension of the Krylov space for low-rank, and for full by automatic
            differentiation, where each of the two spaces of a step costs as many backward passes.
    """

    form: Form = "diagonal"
    probes: Count = 4
    order: Count = 12

    def __post_init__(self) -> None:
        """Check the settings; called by the dataclass constructor.

        Raises:
            MedscoreError: a setting out of range, or an unknown form.
        """
        check_fields(self)
        if self.form not in ("full", "diagonal", "low-rank"):
            raise MedscoreError(
                f"`form` is {self.form!r:.80}", hint="use full, diagonal or low-rank"
            )

    def at(self, prior: Prior, x: State, t: Times, noise: Noise) -> tuple[Tensor, Curvature]:
        """The score and the second-order score.

        Args:
            prior: the prior.
            x: states x_t, (batch, ...).
            t: times, (batch,).
            noise: draws the signs of the probes.

        Raises:
            MedscoreError: low-rank for a prior without a learned covariance, or a denoised image
                without a derivative.
        """
        own = own_covariance(prior, x, t)
        alpha, sigma = expand(prior.sde.alpha(t), x), expand(prior.sde.sigma(t), x)
        share = alpha**2 / sigma**2

        def second(covariance: Tensor, one: Tensor | float = 1.0) -> Tensor:
            return (share * covariance - one) / sigma**2

        if own is not None:
            return own[0], self._of(own[1], x, share, sigma, second)
        if self.form == "low-rank":
            raise MedscoreError(
                f"the prior {type(prior).__name__} has no learned covariance",
                hint="use the form diagonal or full, or a prior with a covariance head",
            )
        posterior = PosteriorCovariance.at(prior, x, t)
        score = (alpha * posterior.mean - x) / sigma**2
        if self.form == "diagonal":
            return score, Diagonal(second(posterior.diagonal(noise, self.probes)))
        return score, Products(lambda v: second(posterior.product(v), v), self.order)

    def _of(
        self,
        known: Covariance,
        x: State,
        share: Tensor,
        sigma: Tensor,
        second: Callable[..., Tensor],
    ) -> Curvature:
        """s_2 in this form from the prior's own covariance."""
        if not isinstance(known, Tensor):
            if self.form == "diagonal":
                return Diagonal(second(known.marginal))
            return Products(lambda v: second(known.product(v), v), self.order)
        if self.form == "low-rank":
            raise MedscoreError(
                "the covariance of this prior is a full matrix", hint="use the form full"
            )
        if self.form == "diagonal":
            return Diagonal(second(known.diagonal(dim1=1, dim2=2).reshape(x.shape)))
        d = known.shape[-1]
        eye = torch.eye(d, dtype=known.dtype, device=known.device)
        flat = (-1, 1, 1)
        matrix = share.reshape(flat) * known - eye
        values, vectors = torch.linalg.eigh(matrix / sigma.reshape(flat) ** 2)
        return Dense(values, vectors)


def own_covariance(prior: Prior, x: State, t: Times) -> tuple[Tensor, Covariance] | None:
    """The score and the covariance that a prior computes itself; None if it does not.

    Gaussian mixtures have the method ``covariance``, and networks with a second output
    ``denoise_with_covariance``, one evaluation.

    Args:
        prior: the prior.
        x: states x_t, (batch, ...).
        t: times, (batch,).
    """
    known: Any = prior
    if getattr(known, "covariance", None) is not None:
        return prior.score(x, t), known.covariance(x, t)
    if not getattr(known, "has_covariance", False):
        return None
    alpha, sigma = expand(prior.sde.alpha(t), x), expand(prior.sde.sigma(t), x)
    mean, learned = known.denoise_with_covariance(x, t)
    return (alpha * mean - x) / sigma**2, learned

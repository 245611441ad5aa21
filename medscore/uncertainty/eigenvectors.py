"""The leading eigenvectors of the posterior covariance: the directions that are least certain.

They are found by ARPACK's restarted Lanczos method (``scipy.sparse.linalg.eigsh``), which needs
only products with the matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.priors.base import Prior
from medscore.types import State, Times
from medscore.uncertainty.covariance import PosteriorCovariance

TOLERANCE = 1e-3
"""Relative error of the eigenvalues at which the iteration stops."""

RESTARTS = 30
"""Largest number of restarts of the iteration."""


@dataclass(frozen=True)
class Eigenpairs:
    """The largest eigenvalues of the covariance of each sample, and their eigenvectors.

    Attributes:
        values: eigenvalues in descending order, (batch, count).
        vectors: eigenvectors of length 1, (batch, count, *shape); the sign is such that the number
            of the largest magnitude is positive.
    """

    values: Tensor
    vectors: Tensor


def covariance_eigenvectors(
    prior: Prior,
    x: State,
    t: Times,
    count: int,
    *,
    seeds: Sequence[int] | None = None,
    tolerance: float = TOLERANCE,
    on_product: Callable[[], None] = lambda: None,
) -> Eigenpairs:
    """The leading eigenvectors of Cov[x_0 | x_t], the symmetric part of its estimate.

    Each sample is handled by itself and does not depend on its batch.

    Args:
        prior: any prior whose denoised image is differentiable.
        x: states x_t, (batch, ...).
        t: times, (batch,).
        count: number of eigenvectors, less than the number of values of a state.
        seeds: seed of the start vector of each sample; by default their positions in the batch.
        tolerance: relative error of the eigenvalues at which the iteration stops.
        on_product: called before every product with the covariance.

    Raises:
        MedscoreError: ``count`` is out of range, the eigenvectors were not found, or as
            :meth:`~medscore.uncertainty.covariance.PosteriorCovariance.at`.
    """
    d = x[0].numel()
    if not 1 <= count < d:
        raise MedscoreError(
            f"`count` is {count}", hint=f"use 1 to {d - 1} eigenvectors of {d} values"
        )
    seeds = range(len(x)) if seeds is None else seeds
    values, vectors = [], []
    for i, seed in enumerate(seeds):
        posterior = PosteriorCovariance.at(prior, x[i : i + 1], t[i : i + 1])
        found = _of_one(posterior, d, count, seed, tolerance, on_product)
        values.append(found[0])
        vectors.append(found[1])
    shape = (len(x), count, *x.shape[1:])
    return Eigenpairs(
        torch.from_numpy(np.stack(values)).to(x),
        torch.from_numpy(np.stack(vectors)).to(x).reshape(shape),
    )


def _of_one(
    posterior: PosteriorCovariance,
    d: int,
    count: int,
    seed: int,
    tolerance: float,
    on_product: Callable[[], None],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eigenvalues (count,) and eigenvectors (count, d) of one sample."""
    leaf = posterior.leaf

    def product(v: NDArray[Any]) -> NDArray[np.float64]:
        on_product()
        direction = torch.from_numpy(v.astype(np.float64)).to(leaf).reshape(leaf.shape)
        return posterior.symmetric_product(direction).cpu().double().numpy().ravel()

    start = torch.randn(d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    matrix = LinearOperator((d, d), matvec=product, dtype=np.float64)
    try:
        values, vectors = eigsh(
            matrix, count, which="LA", v0=start.numpy(), tol=tolerance, maxiter=RESTARTS
        )
    except ArpackNoConvergence as error:
        raise MedscoreError(
            f"only {len(error.eigenvalues)} of {count} eigenvectors were found",
            hint="use fewer eigenvectors, or a larger tolerance",
        ) from error
    order = np.argsort(values)[::-1]
    rows = vectors.T[order]
    signs = np.sign(rows[np.arange(count), np.abs(rows).argmax(1)])
    return values[order], rows * signs[:, None]

r"""The projector restricted to some views: A itself, without the views that the mask drops.

Few views share no symmetry with each other, so their rows are stored in full, each copied from the
stored eighth of :mod:`medscore.operators.projector` with its pixels permuted. A tenth of the views
then costs a tenth of the full transform.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from medscore.operators.projector import ParallelBeam, csr, octet, stored_eighth
from medscore.types import Images, Sinogram

Views = tuple[int, ...]


def project_views(x: Images, geometry: ParallelBeam, views: Views) -> Sinogram:
    """Line integrals of images (..., size, size) in the given views: (..., views, detectors).

    Equal to those rows of :func:`~medscore.operators.projector.project`; differentiable.
    """
    sinogram: Tensor = _Multiply.apply(x.flatten(-2), geometry, views, False)
    return sinogram.reshape(*sinogram.shape[:-1], len(views), geometry.detectors)


def backproject_views(sinogram: Sinogram, geometry: ParallelBeam, views: Views) -> Images:
    """The exact adjoint of :func:`project_views`."""
    image: Tensor = _Multiply.apply(sinogram.flatten(-2), geometry, views, True)
    return image.reshape(*image.shape[:-1], geometry.size, geometry.size)


class _Multiply(torch.autograd.Function):
    """Rows (..., n) times the matrix or its transpose; the gradient is the other one."""

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, geometry: ParallelBeam, views: Views, transposed: bool
    ) -> Tensor:
        ctx.where = geometry, views, not transposed
        matrix = _matrices(geometry, views, rows.dtype, rows.device)[transposed]
        columns = rows.reshape(-1, rows.shape[-1]).t().contiguous()
        return (matrix @ columns).t().reshape(*rows.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        return _Multiply.apply(grads[0], *ctx.where), None, None, None


@lru_cache(maxsize=4)
def _matrices(
    geometry: ParallelBeam, views: Views, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    n, half = geometry.size, geometry.detectors // 2
    eighth = stored_eighth(geometry)
    pixels = [p.numpy().ravel() for p in octet(torch.arange(n * n).reshape(n, n))]

    def rows(j: int, symmetry: int) -> Any:
        part = eighth[j * half : (j + 1) * half]
        moved = pixels[symmetry][part.indices].astype(np.int32)
        return scipy.sparse.csr_matrix((part.data, moved, part.indptr), shape=part.shape)

    blocks: list[Any] = []
    for view in views:
        j, symmetry = _in_first_octant(view, geometry.views)
        blocks += [rows(j, symmetry + 4)[::-1], rows(j, symmetry)]
    matrix = scipy.sparse.vstack(blocks, format="csr")
    matrix.sort_indices()
    return csr(matrix, dtype, device), csr(matrix.T.tocsr(), dtype, device)


def _in_first_octant(view: int, views: int) -> tuple[int, int]:
    """The view in [0, pi/4] that ``view`` is an image of, and under which of the 4 symmetries."""
    if view <= views // 4:
        return view, 0
    if view < views // 2:
        return views // 2 - view, 1
    if view <= 3 * views // 4:
        return view - views // 2, 2
    return views - view, 3

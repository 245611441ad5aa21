r"""Parallel-beam projector: line integrals by Joseph's method as a sparse matrix, and its adjoint.

A ray of view theta and offset s is :math:`(s\cos\theta - l\sin\theta,\ s\sin\theta + l\cos\theta)`
with x to the right, y upwards and the origin at the image's centre. Views are theta_k = k pi / V.

The symmetries of the square map theta to pi/2 - theta, pi/2 + theta and pi - theta, and a half turn
maps s to -s. So only views in [0, pi/4] and detectors with s > 0 are stored, an eighth of the
matrix, and one image becomes a batch of eight. The transpose is stored too: it is the adjoint and,
through :class:`torch.autograd.Function`, the gradient.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from medscore.types import AnyFloat


@dataclass(frozen=True)
class ParallelBeam:
    """Geometry of an equiangular parallel-beam scan of a square image.

    Attributes:
        size: pixels per side. spacing: pixel and detector spacing in mm.
        views: number of views over pi, a multiple of 4.
    """

    size: int
    spacing: float
    views: int

    def __post_init__(self) -> None:
        if self.size < 2 or self.views < 4 or self.views % 4 or not self.spacing > 0:
            raise ValueError(
                "a parallel-beam grid needs size >= 2, spacing > 0 and a number of views that is "
                f"a multiple of 4, got {self}"
            )

    @property
    def detectors(self) -> int:
        """Detector bins, an even number that covers the image's diagonal."""
        return 2 * math.ceil(self.size * math.sqrt(2) / 2)

    @property
    def angles(self) -> Tensor:
        """The views in radians, (views,) float64."""
        return torch.arange(self.views, dtype=torch.float64) * (math.pi / self.views)

    @property
    def offsets(self) -> Tensor:
        """Detector offsets s in mm, (detectors,) float64."""
        j = torch.arange(self.detectors, dtype=torch.float64)
        return (j - (self.detectors - 1) / 2) * self.spacing


def project(x: AnyFloat, geometry: ParallelBeam) -> AnyFloat:
    """Line integrals of images (..., size, size): a sinogram (..., views, detectors).

    The unit is the image's times mm. Differentiable; the gradient is :func:`backproject`.
    """
    result: Tensor = _Project.apply(x, geometry)
    return result


def backproject(sinogram: AnyFloat, geometry: ParallelBeam) -> AnyFloat:
    """The exact adjoint of :func:`project`: (..., views, detectors) to (..., size, size)."""
    result: Tensor = _Backproject.apply(sinogram, geometry)
    return result


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, geometry: ParallelBeam) -> Tensor:
        ctx.geometry = geometry
        return _project(x, geometry)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return backproject(grads[0], ctx.geometry), None


class _Backproject(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, sinogram: Tensor, geometry: ParallelBeam) -> Tensor:
        ctx.geometry = geometry
        return _backproject(sinogram, geometry)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return project(grads[0], ctx.geometry), None


def _project(x: Tensor, geometry: ParallelBeam) -> Tensor:
    n, lead = geometry.size, x.shape[:-2]
    images = x.reshape(-1, n, n)
    turned = torch.stack(octet(images), dim=0)  # (8, batch, n, n)
    columns = turned.flatten(0, 1).flatten(1).t().contiguous()
    rays = _matrices(geometry, x.dtype, x.device)[0] @ columns
    quarter, half = geometry.views // 4 + 1, geometry.detectors // 2
    eighths = rays.t().reshape(2, 4, -1, quarter, half)  # (half turn, symmetry, batch, view, s)
    both = torch.cat([eighths[1].flip(-1), eighths[0]], dim=-1)
    views = [both[0], both[1][:, 1:-1].flip(1), both[2], both[3][:, 1:-1].flip(1)]
    return torch.cat(views, dim=1).reshape(*lead, geometry.views, geometry.detectors)


def _backproject(sinogram: Tensor, geometry: ParallelBeam) -> Tensor:
    n, lead = geometry.size, sinogram.shape[:-2]
    views = sinogram.reshape(-1, geometry.views, geometry.detectors)
    quarter, half = geometry.views // 4 + 1, geometry.detectors // 2
    parts = views.split([quarter, quarter - 2, quarter, quarter - 2], dim=1)
    pad = torch.nn.functional.pad
    both = torch.stack(
        [
            parts[0],
            pad(parts[1].flip(1), (0, 0, 1, 1)),
            parts[2],
            pad(parts[3].flip(1), (0, 0, 1, 1)),
        ]
    )
    eighths = torch.stack([both[..., half:], both[..., :half].flip(-1)])
    columns = eighths.reshape(-1, quarter * half).t().contiguous()
    pixels = _matrices(geometry, sinogram.dtype, sinogram.device)[1] @ columns
    turned = pixels.t().reshape(8, -1, n, n)
    return _octet_adjoint(turned).reshape(*lead, n, n)


def octet(x: Tensor) -> list[Tensor]:
    """x composed with the 8 symmetries of the square; rows grow downwards, y upwards."""
    t = x.transpose(-1, -2)
    # identity, (x, y) -> (y, x), quarter turn (x, y) -> (-y, x), (x, y) -> (-x, y)
    four = [x, t.flip(-1, -2), t.flip(-1), x.flip(-1)]
    return four + [image.flip(-1, -2) for image in four]


def _octet_adjoint(images: Tensor) -> Tensor:
    """Sum of the inverse symmetries applied to (8, batch, n, n)."""
    four = images[:4] + images[4:].flip(-1, -2)
    turned = (four[1].flip(-1, -2) + four[2].flip(-1)).transpose(-1, -2)
    return four[0] + turned + four[3].flip(-1)


@lru_cache(maxsize=4)
def _matrices(
    geometry: ParallelBeam, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The stored eighth of the projection matrix and its transpose, as CSR."""
    matrix = stored_eighth(geometry)
    return csr(matrix, dtype, device), csr(matrix.T.tocsr(), dtype, device)


@lru_cache(maxsize=4)
def stored_eighth(geometry: ParallelBeam) -> Any:
    """Rays (quarter, half) x pixels by Joseph (1982): linear interpolation once per image row.

    For theta in [0, pi/4] the ray crosses the row at height y at x = s / cos - y tan, and each
    row contributes the length spacing / cos.
    """
    n, quarter, half = geometry.size, geometry.views // 4 + 1, geometry.detectors // 2
    theta = geometry.angles[:quarter].numpy()[:, None, None]
    s = geometry.offsets[half:].numpy()[None, :, None] / geometry.spacing
    row = np.arange(n)
    y = (n - 1) / 2 - row
    column = s / np.cos(theta) - y * np.tan(theta) + (n - 1) / 2
    left = np.floor(column).astype(np.int32)
    right_share = column - left
    length = np.broadcast_to(geometry.spacing / np.cos(theta), column.shape)
    pixel = np.stack([left, left + 1], axis=-1)
    weight = np.stack([(1 - right_share) * length, right_share * length], axis=-1)
    inside = (pixel >= 0) & (pixel < n)
    counts = inside.sum(axis=(-1, -2)).ravel()
    pixel += (row * n).astype(np.int32)[:, None]
    return scipy.sparse.csr_matrix(
        (weight[inside], pixel[inside], np.concatenate([[0], counts.cumsum()])),
        shape=(quarter * half, n * n),
    )


def csr(matrix: Any, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A SciPy matrix as torch CSR."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Ss]parse.*", category=UserWarning)
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(np.int32)),
            torch.from_numpy(matrix.indices.astype(np.int32)),
            torch.from_numpy(matrix.data).to(dtype),
            size=matrix.shape,
            device=device,
        )

"""Operators as matrices, and a small scan of each kind."""

from __future__ import annotations

import torch
from torch import Tensor

from medscore.operators.base import Operator
from medscore.operators.ct.geometry import ParallelBeam
from medscore.operators.ct.metal import metal_trace, without_metal
from medscore.operators.ct.radon import Radon
from medscore.operators.ct.scans import sparse_view
from medscore.operators.mri.fourier import Fourier
from medscore.operators.mri.masks import equispaced, variable_density_2d
from medscore.operators.mri.multicoil import MulticoilFourier
from medscore.operators.mri.sensitivity import birdcage

N = 16


def matrix(operator: Operator, dtype: torch.dtype) -> Tensor:
    """The matrix A (measurements, pixels) for images (1, H, W) of a given dtype."""
    height, width = operator.image_shape
    images = torch.eye(height * width, dtype=dtype).reshape(-1, 1, height, width)
    return operator.forward(images).flatten(1).T


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def kspace_mask() -> Tensor:
    return variable_density_2d((N, N), 2.0, torch.Generator().manual_seed(0))


def ct() -> Radon:
    """A CT scan with seven views."""
    return sparse_view(N, 1.0, 7)


def metal_ct() -> Radon:
    """A CT scan with all views, without the rays through a block of metal."""
    geometry = ParallelBeam(N, 1.0, 24)
    metal = torch.zeros(1, 1, N, N)
    metal[..., 5:8, 9:12] = 1
    trace = metal_trace(metal, geometry)
    return Radon(geometry, without_metal(torch.ones(24, 1), trace)[0, 0])


def mri() -> Fourier:
    """Single-coil k-space."""
    return Fourier(kspace_mask())


def multicoil(coils: int = 3) -> MulticoilFourier:
    """K-space of several coils around the image."""
    return MulticoilFourier(birdcage(coils, N, N).to(torch.complex128), kspace_mask())


def lines(coils: int = 6) -> MulticoilFourier:
    """Every second line of k-space, with enough coils to determine the image."""
    maps = birdcage(coils, N, N).to(torch.complex128)
    return MulticoilFourier(maps, equispaced((N, N), 2.0))


def disc(batch: int = 1) -> Tensor:
    """Images of discs with values between 0 and 1, (batch, 1, N, N), float64."""
    at = torch.arange(N, dtype=torch.float64) - (N - 1) / 2
    radius = (at**2 + at[:, None] ** 2).sqrt()
    outer, inner = (radius < 6).double(), (radius < 3).double()
    images = [0.5 * outer + 0.1 * k * inner for k in range(1, batch + 1)]
    return torch.stack(images)[:, None]

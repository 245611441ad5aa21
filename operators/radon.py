r"""Parallel-beam CT: T = Radon transform on an equiangular grid, Lambda = the measured views."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from medscore.operators.base import Operator
from medscore.operators.projector import ParallelBeam, backproject, project
from medscore.operators.view_subset import backproject_views, project_views
from medscore.types import Images, Sinogram

REFINEMENTS = 4
"""Chebyshev steps after filtered back-projection in ``T_inv``."""

SMALLEST_EIGENVALUE = 0.2
"""Lower end of the Chebyshev interval; what lies below it (the corners of the frequency square)
is the loss of ``T_inv``. T_inv(T x) is at least 42 dB on CT slices: benchmarks/main_job.py."""


def full_grid(measured: int, size: int) -> int:
    """Views of the full grid: the smallest multiple of ``measured`` that is >= 180, >= ``size``
    and divisible by 4.

    With as many views as pixels per side the transform has more samples than unknowns, so it has
    a left inverse; and every measured view lies on the grid, so Lambda is exact.
    """
    step = math.lcm(measured, 4)
    return step * math.ceil(max(180, size) / step)


class Radon(Operator):
    """Line integrals (batch, channel, views, detectors) of images (batch, channel, size, size).

    Args:
        geometry: the full grid; lengths in mm, so an image in 1/mm gives numbers without unit.
        measured: boolean (views,): which views of the full grid were measured.
    """

    T_is_onto = False

    def __init__(self, geometry: ParallelBeam, measured: Tensor) -> None:
        if measured.shape != (geometry.views,):
            raise ValueError(
                f"measured has shape {tuple(measured.shape)}, expected ({geometry.views},)"
            )
        super().__init__(measured.reshape(1, 1, -1, 1))
        self.geometry, self.measured = geometry, measured.bool()
        indices = tuple(self.measured.nonzero()[:, 0].tolist())
        self._few = indices if 4 * len(indices) <= geometry.views else ()
        """The measured views, where A is worth a matrix of its own; it takes up to twice T's."""

    def __repr__(self) -> str:
        g = self.geometry
        return (
            f"Radon({g.size}x{g.size} pixels of {g.spacing:g} mm, {int(self.measured.sum())} of "
            f"{g.views} views over 180 degrees, {g.detectors} detectors)"
        )

    def T(self, x: Images) -> Sinogram:
        return project(x, self.geometry)

    def T_adjoint(self, z: Sinogram) -> Images:
        return backproject(z, self.geometry)

    def forward(self, x: Images) -> Sinogram:
        if not self._few:
            return super().forward(x)
        self.calls += 1
        z = x.new_zeros(*x.shape[:-2], self.geometry.views, self.geometry.detectors)
        return z.index_copy(-2, self._rows(x), project_views(x, self.geometry, self._few))

    def adjoint(self, y: Sinogram) -> Images:
        if not self._few:
            return super().adjoint(y)
        self.calls += 1
        return backproject_views(y.index_select(-2, self._rows(y)), self.geometry, self._few)

    def _rows(self, like: Tensor) -> Tensor:
        return torch.tensor(self._few, device=like.device)

    def T_inv(self, z: Sinogram) -> Images:
        r"""Filtered back-projection, refined: a fixed polynomial in the normal operator.

        With F the ramp filter and M = T^T F T, filtered back-projection x_0 = T^T F z solves
        M x = T^T F z but for M's distance from the identity; Chebyshev's iteration on the spectrum
        [0.2, lambda_max] (Golub and Varga 1961) then shrinks that error by the same polynomial for
        every z, so ``T_inv`` stays linear.
        """
        low, high = SMALLEST_EIGENVALUE, 1.02 * _largest_eigenvalue(self.geometry)
        centre, radius = (high + low) / 2, (high - low) / 2
        x = target = self.filtered_backprojection(z)
        remainder = target - self.filtered_backprojection(self.T(x))
        change, rho = remainder / centre, radius / centre
        for step in range(REFINEMENTS):
            x = x + change
            if step == REFINEMENTS - 1:
                break
            remainder = remainder - self.filtered_backprojection(self.T(change))
            rho_next = 1 / (2 * centre / radius - rho)
            change = rho_next * rho * change + (2 * rho_next / radius) * remainder
            rho = rho_next
        return x

    def filtered_backprojection(self, z: Sinogram) -> Images:
        """T^T F z with the ramp filter over the full grid: the first approximation of T_inv."""
        return self.T_adjoint(ramp(z, self.geometry))

    def fbp(self, y: Sinogram) -> Images:
        """Filtered back-projection of the measured views alone, each weighted pi / (their number).

        The classical reconstruction, and the baseline to beat.
        """
        share = self.geometry.views / self.measured.sum().item()
        return share * self.filtered_backprojection(self.mask(y) * y)


def sparse_view(size: int, spacing: float, views: int) -> Radon:
    """A scan with ``views`` equally spaced views over 180 degrees, on its :func:`full_grid`."""
    grid = full_grid(views, size)
    measured = torch.zeros(grid, dtype=torch.bool)
    measured[:: grid // views] = True
    return Radon(ParallelBeam(size, spacing, grid), measured)


def ramp(sinogram: Sinogram, geometry: ParallelBeam) -> Sinogram:
    """The Ram-Lak filter along detectors (Kak and Slaney 1988, Eq. 3.61), scaled so that the
    adjoint of the filtered sinogram is the filtered back-projection in the image's unit.
    """
    response, length = _ramp_response(geometry)
    spectrum = torch.fft.rfft(sinogram, n=length)
    filtered: Tensor = torch.fft.irfft(
        spectrum * response.to(dtype=sinogram.dtype, device=sinogram.device), n=length
    )
    return filtered[..., : geometry.detectors]


@lru_cache(maxsize=8)
def _ramp_response(geometry: ParallelBeam) -> tuple[Tensor, int]:
    length = 2 ** math.ceil(math.log2(2 * geometry.detectors))
    k = torch.arange(length)
    k = torch.minimum(k, length - k).double()
    odd = -1 / (math.pi * k.clamp_min(1)) ** 2
    kernel = torch.where(k == 0, 0.25, torch.where(k % 2 == 1, odd, 0.0))
    response = torch.fft.rfft(kernel).real
    return response * math.pi / (geometry.views * geometry.spacing**2), length


@lru_cache(maxsize=8)
def _largest_eigenvalue(geometry: ParallelBeam) -> float:
    """lambda_max of M = T^T F T, by power iteration from a fixed start."""
    start = torch.Generator().manual_seed(0)
    v = torch.randn(1, 1, geometry.size, geometry.size, generator=start)
    value = 1.0
    for _ in range(30):
        w = backproject(ramp(project(v, geometry), geometry), geometry)
        value = float(w.norm() / v.norm())
        v = w / w.norm()
    return value

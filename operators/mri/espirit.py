r"""Coil sensitivities by ESPIRiT (Uecker et al. 2014).

The fully sampled centre of k-space has windows of k x k samples of all coils, the rows of the
calibration matrix. The right singular vectors of its large singular values span all windows that
the scan can contain. Where the image has signal, the vector of the coils' sensitivities is the
eigenvector, of the eigenvalue 1, of the operator that projects all windows of an image on this
space. In the image domain this operator is a matrix for every pixel r,

.. math:: G(r)_{cd} = k^{-2} \sum_n \hat v_{nc}(r)\, \overline{\hat v_{nd}(r)},

where :math:`\hat v_{nc}` is the Fourier transform of the n-th singular vector's window of coil c.
It only depends on the correlation of the windows, which has (2k - 1)^2 samples.

The centre of undersampled lines is long along the readout and short across the lines, and a square
of the short side has too few windows: all of the rectangle is used. In a centre of fewer lines than
``2 WINDOW - 2`` the windows are smaller, so that there are several side by side.

sigpy's implementation, which knows squares only, is used for a square centre where it is installed,
and this one otherwise. Both agree to the convergence of sigpy's power iteration.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from medscore.errors import MedscoreError, optional_module
from medscore.operators.mri.sensitivity import calibration_sides, unit_peak

WINDOW = 6
"""Largest side k of the windows, in samples."""

LARGEST_CALIBRATION = 48
"""Largest side of the centre that is used; more samples cost time and change little."""

Sides = tuple[int, int]
"""Sides (ky, kx) of the centre."""

BLOCK = 2**22
"""Largest number of matrix entries whose eigenvectors are computed at once."""


def espirit(
    kspace: Tensor,
    calibration: tuple[int, int] | None = None,
    *,
    threshold: float = 0.02,
    crop: float = 0.95,
) -> Tensor:
    """Maps (batch, coil, H, W) with sum |S|^2 = 1 where there is signal, zero elsewhere.

    The phase is relative to the first coil.

    Args:
        kspace: (batch, coil, ky, kx) complex, centred, zero where nothing was measured.
        calibration: sides (ky, kx) of the fully sampled centre; by default the largest one in
            ``kspace``.
        threshold: relative threshold of the singular values of the calibration matrix.
        crop: threshold of the eigenvalues; the maps are zero where they are smaller.

    Raises:
        OperatorError: no fully sampled centre, or one that is smaller than a window.
    """
    height, width = calibration_sides(kspace, calibration, WINDOW)
    sides = min(height, LARGEST_CALIBRATION), min(width, LARGEST_CALIBRATION)
    samples = unit_peak(kspace.detach()).cpu()
    package = _sigpy() if sides[0] == sides[1] and window_of(sides) == WINDOW else None
    if package is None:
        maps = [eigenvector_maps(sample, sides, threshold, crop) for sample in samples]
    else:
        maps = [sigpy_maps(package, sample, sides[0], threshold, crop) for sample in samples]
    return torch.stack(maps).to(kspace)


def window_of(sides: Sides) -> int:
    """Side of the windows in a centre.

    Args:
        sides: sides (ky, kx) of the centre.
    """
    return min(WINDOW, min(sides) // 2 + 1)


def _sigpy() -> Any | None:
    try:
        return optional_module("sigpy.mri.app", "ESPIRiT", install="medscore[mri]")
    except MedscoreError:
        return None


def sigpy_maps(package: Any, kspace: Tensor, side: int, threshold: float, crop: float) -> Tensor:
    """Maps (coil, H, W) by sigpy.

    Args:
        package: the module ``sigpy.mri.app``.
        kspace: (coil, ky, kx).
        side: side of the fully sampled centre.
        threshold: see :func:`espirit`.
        crop: see :func:`espirit`.
    """
    app = package.EspiritCalib(
        kspace.numpy(),
        calib_width=side,
        kernel_width=WINDOW,
        thresh=threshold,
        crop=crop,
        show_pbar=False,
    )
    return torch.from_numpy(app.run()).nan_to_num()


def eigenvector_maps(kspace: Tensor, sides: Sides, threshold: float, crop: float) -> Tensor:
    """Maps (coil, H, W) as the eigenvectors of all pixels' matrices.

    Args:
        kspace: (coil, ky, kx).
        sides: sides of the fully sampled centre.
        threshold: see :func:`espirit`.
        crop: see :func:`espirit`.
    """
    correlation, window = window_correlation(kspace, sides, threshold), window_of(sides)
    coils, (rows, columns) = len(kspace), (kspace.shape[-2], kspace.shape[-1])
    down, across = _waves(rows, window), _waves(columns, window)
    partial = torch.einsum("xb,cdab->xcda", across, correlation)
    maps = torch.zeros(coils, rows, columns, dtype=torch.complex128)
    step = max(1, BLOCK // (columns * coils**2))
    for first in range(0, rows, step):
        part = slice(first, first + step)
        matrices = torch.einsum("ya,xcda->yxcd", down[part], partial) / window**2
        values, vectors = torch.linalg.eigh(matrices)
        vector = vectors[..., -1]
        turn = vector[..., :1].conj() / vector[..., :1].abs().clamp_min(1e-300)
        kept = (values[..., -1:] > crop).to(vector.dtype)
        maps[:, part] = (vector * turn * kept).movedim(-1, 0)
    return maps


def window_correlation(kspace: Tensor, sides: Sides, threshold: float) -> Tensor:
    """The correlation of the windows of all pairs of coils, (coil, coil, 2k - 1, 2k - 1).

    Args:
        kspace: (coil, ky, kx).
        sides: sides of the fully sampled centre.
        threshold: see :func:`espirit`.
    """
    (coils, ny, nx), (height, width), window = kspace.shape, sides, window_of(sides)
    top, left = ny // 2 - height // 2, nx // 2 - width // 2
    centre = kspace[:, top : top + height, left : left + width].to(torch.complex128)
    windows = centre.unfold(1, window, 1).unfold(2, window, 1)
    rows = windows.permute(1, 2, 0, 3, 4).reshape(-1, coils * window**2)
    values, vectors = torch.linalg.eigh(rows.mH @ rows)
    kept = vectors[:, values > threshold**2 * values[-1]].conj()
    kernels = kept.T.reshape(-1, coils, window, window)
    length = 2 * window - 1
    spectra = torch.fft.fft2(kernels, s=(length, length))
    products = torch.einsum("ncab,ndab->cdab", spectra, spectra.conj())
    correlation: Tensor = torch.fft.fftshift(torch.fft.ifft2(products), dim=(-2, -1))
    return correlation


def _waves(n: int, window: int) -> Tensor:
    """exp(2 pi i r d / n) of pixels r, from the centre, and differences d of samples."""
    pixels = torch.arange(n, dtype=torch.float64)[:, None] - n // 2
    angle = 2 * math.pi / n * pixels * torch.arange(1 - window, window, dtype=torch.float64)
    return torch.polar(torch.ones_like(angle), angle)

r"""Coil sensitivities from the calibration region, by two estimators, and simulated coils.

The simple estimate divides the low-resolution image of each coil by their root sum of squares
(McKenzie et al. 2002). It includes the phase of the image itself, so reconstructions are nearly
real; ESPIRiT (Uecker et al. 2014) computes the maps as eigenvectors and is more accurate near the
edge of the object.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from medscore.errors import optional_module
from medscore.operators.grid import OperatorError
from medscore.operators.mri.fourier import ifft2c
from medscore.operators.mri.masks import calibration_region


def low_resolution(
    kspace: Tensor, calibration: tuple[int, int] | None = None, *, threshold: float = 0.05
) -> Tensor:
    """Maps (batch, coil, H, W) with sum |S|^2 = 1 where there is signal, zero elsewhere.

    Args:
        kspace: (batch, coil, ky, kx) complex, centred, zero where nothing was measured.
        calibration: sides (ky, kx) of the fully sampled centre; by default the largest one in
            ``kspace``. It is tapered by a Hann window against ringing.
        threshold: share of the largest root sum of squares below which there is no signal.

    Raises:
        OperatorError: no fully sampled centre, or one that does not fit the data.
    """
    images = ifft2c(tapered(unit_peak(kspace), _calibration(kspace, calibration)))
    size = images.abs().square().sum(-3, keepdim=True).sqrt()
    signal = size > threshold * size.amax(dim=(-2, -1), keepdim=True)
    return torch.where(signal, images / torch.where(signal, size, 1), 0)


def tapered(kspace: Tensor, sides: tuple[int, int]) -> Tensor:
    """The centre of k-space, tapered by a Hann window; zero outside.

    Args:
        kspace: (..., ky, kx) complex.
        sides: sides (ky, kx) of the centre.
    """
    ny, nx = kspace.shape[-2:]
    window = torch.outer(_hann(ny, sides[0]), _hann(nx, sides[1]))
    return kspace * window.to(kspace.device, kspace.real.dtype)


def unit_peak(kspace: Tensor) -> Tensor:
    """Each sample of a batch divided by its largest modulus, as squares of extreme values leave
    the range of single precision; a sample of zeros stays.

    Args:
        kspace: (batch, coil, ky, kx) complex.
    """
    peak = kspace.abs().amax(dim=(-3, -2, -1), keepdim=True)
    return kspace / torch.where(peak > 0, peak, 1.0)


def espirit(
    kspace: Tensor,
    calibration: tuple[int, int] | None = None,
    *,
    threshold: float = 0.02,
    crop: float = 0.95,
) -> Tensor:
    """Maps (batch, coil, H, W) by ESPIRiT, computed by sigpy (the extra ``medscore[mri]``).

    Args:
        kspace: (batch, coil, ky, kx) complex, centred, zero where nothing was measured.
        calibration: sides (ky, kx) of the fully sampled centre, as in :func:`low_resolution`; the
            smaller one is used for both axes.
        threshold: relative threshold of the singular values of the calibration matrix.
        crop: threshold of the eigenvalues; the maps are zero where they are smaller.

    Raises:
        MedscoreError: sigpy is not installed.
        OperatorError: no fully sampled centre.
    """
    sigpy = optional_module(
        "sigpy.mri.app", "ESPIRiT", install="medscore[mri]", instead="use low_resolution"
    )
    side = min(_calibration(kspace, calibration))
    maps: list[Any] = []
    for sample in unit_peak(kspace.detach()).cpu():
        app = sigpy.EspiritCalib(
            sample.numpy(), calib_width=side, thresh=threshold, crop=crop, show_pbar=False
        )
        maps.append(torch.from_numpy(app.run()))
    return torch.stack(maps).to(kspace)


def birdcage(coils: int, height: int, width: int, *, radius: float = 1.2) -> Tensor:
    """Simulated maps (coil, H, W) with sum |S|^2 = 1, of coils on a circle around the image.

    Each sensitivity decreases with the distance from its coil and has a phase of its own.

    Args:
        coils: number of coils.
        height: number of rows of the image.
        width: number of columns of the image.
        radius: radius of the circle, in units of half the image.

    Raises:
        OperatorError: ``coils`` is less than 1.
    """
    if coils < 1:
        raise OperatorError(f"`coils` is {coils}, expected 1 or more")
    y = torch.linspace(1, -1, height, dtype=torch.float64)[:, None]
    x = torch.linspace(-1, 1, width, dtype=torch.float64)
    maps = []
    for k in range(coils):
        angle = 2 * math.pi * k / coils
        dx, dy = x - radius * math.cos(angle), y - radius * math.sin(angle)
        strength = 1 / (dx**2 + dy**2).sqrt()
        maps.append(torch.polar(strength, torch.atan2(dy, dx) - angle))
    stacked = torch.stack(maps)
    return (stacked / stacked.abs().square().sum(0).sqrt()).to(torch.complex64)


def _calibration(kspace: Tensor, given: tuple[int, int] | None) -> tuple[int, int]:
    if given is None:
        taken = (kspace != 0).flatten(0, -3).any(0)
        return calibration_region(taken)
    if not all(2 <= g <= n for g, n in zip(given, kspace.shape[-2:], strict=True)):
        raise OperatorError(
            f"`calibration` is {given}, expected sides from 2 to {tuple(kspace.shape[-2:])}"
        )
    return given


def _hann(n: int, width: int) -> Tensor:
    """A Hann window of ``width`` around n // 2, zero at its ends and outside."""
    distance = (torch.arange(n, dtype=torch.float64) - n // 2).abs()
    return torch.where(distance < width / 2, torch.cos(math.pi * distance / width) ** 2, 0.0)

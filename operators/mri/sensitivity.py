r"""Coil sensitivities from low-resolution images, and simulated coils.

The estimate divides the low-resolution image of each coil by their root sum of squares (McKenzie et
al. 2002). It includes the phase of the image itself, so reconstructions are nearly real;
:mod:`~medscore.operators.mri.espirit` is more accurate near the edge of the object.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

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
    images = ifft2c(tapered(unit_peak(kspace), calibration_sides(kspace, calibration)))
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


def calibration_sides(
    kspace: Tensor, given: tuple[int, int] | None, least: int = 2
) -> tuple[int, int]:
    """Sides (ky, kx) of the fully sampled centre.

    Args:
        kspace: (batch, coil, ky, kx), zero where nothing was measured.
        given: the sides, where they are known.
        least: smallest side that is sufficient.

    Raises:
        OperatorError: no fully sampled centre, a side of it is too short, or ``given`` is larger
            than the data.
    """
    sides = given
    if sides is None:
        sides = calibration_region((kspace != 0).flatten(0, -3).any(0))
        if min(sides) < least:
            raise OperatorError(
                f"the fully sampled centre of {sides[0]} x {sides[1]} samples is too small, "
                f"{least} x {least} are needed"
            )
    if not all(least <= s <= n for s, n in zip(sides, kspace.shape[-2:], strict=True)):
        raise OperatorError(
            f"`calibration` is {sides}, expected sides from {least} to {tuple(kspace.shape[-2:])}"
        )
    return sides


def _hann(n: int, width: int) -> Tensor:
    """A Hann window of ``width`` around n // 2, zero at its ends and outside."""
    distance = (torch.arange(n, dtype=torch.float64) - n // 2).abs()
    return torch.where(distance < width / 2, torch.cos(math.pi * distance / width) ** 2, 0.0)

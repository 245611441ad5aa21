"""From raw k-space to a measurement: oversampling, resolution, coil maps, undersampling, targets.

The readout is sampled densely, so its field of view can be chosen after the scan: it is made as
long as that of the phase encoding, which makes images square without a model error. A lower
resolution is the middle of k-space. Intensities are kept: magnitudes are those of the image of all
of k-space.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medscore.datasets.raw.kspace import RawKspace
from medscore.datasets.volume import centred_affine
from medscore.errors import MedscoreError
from medscore.measurements.measurement import MAGNITUDE, Measurement
from medscore.operators.base import Operator
from medscore.operators.mri.fourier import Fourier, ifft2c
from medscore.operators.mri.modulus import root_sum_of_squares
from medscore.operators.mri.multicoil import MulticoilFourier
from medscore.operators.mri.sensitivity import espirit, low_resolution
from medscore.operators.noise_level import kspace_corners

MAPS: dict[str, Callable[[Tensor], Tensor]] = {
    "low-resolution": low_resolution,
    "espirit": espirit,
}
"""Estimators of coil sensitivities by name."""

TARGETS = ("rss", "mvue", "magnitude")
"""Images of fully sampled k-space: root sum of squares over coils; the modulus of the minimum-
variance unbiased estimate sum conj(S) x / sqrt(sum |S|^2); the modulus of one coil."""


@dataclass(frozen=True)
class GridKspace:
    """k-space on the grid of the image to be reconstructed.

    Attributes:
        kspace: (slices, coil, ky, kx) complex64, zero where it was not sampled.
        sampled: (slices, 1, ky, kx) bool.
        spacing: distance between columns, rows and slices in mm.
        noise_std: standard deviation of the noise in the real and the imaginary part each; ``None``
            where it cannot be estimated.
    """

    kspace: Tensor
    sampled: Tensor
    spacing: tuple[float, float, float]
    noise_std: float | None


def to_grid(raw: RawKspace, size: int | None, where: str | Path) -> GridKspace:
    """Make the field of view square, and reduce the resolution to ``size`` x ``size`` pixels.

    Args:
        raw: k-space as the scanner wrote it.
        size: pixels per side; by default the resolution is kept.
        where: file to name in errors.

    Raises:
        MedscoreError: the pixel spacing is unknown, or ``size`` exceeds the samples.
    """
    if raw.spacing is None:
        raise MedscoreError("the pixel spacing is unknown", where=where, hint="set `spacing` in mm")
    column, row, thickness = raw.spacing
    kspace, sampled = torch.from_numpy(raw.kspace), torch.from_numpy(raw.sampled)[:, None]
    noise_std = _noise_std(kspace, sampled)
    if _whole_lines(sampled):
        kspace = _readout(kspace, round(kspace.shape[-1] * column / row))
        sampled = sampled.any(-2, keepdim=True).expand(len(sampled), 1, *kspace.shape[-2:])
    ny, nx = kspace.shape[-2:]
    scale = 1.0
    if size is not None:
        if size > min(ny, nx):
            raise MedscoreError(
                f"`size` is {size}, k-space has {ny} x {nx} samples for a square image",
                where=where,
                hint=f"use at most {min(ny, nx)}",
            )
        kspace, sampled = _middle(kspace, size), _middle(sampled, size)
        column, row = column * nx / size, row * ny / size
        scale = size / (ny * nx) ** 0.5  # an orthonormal transform of fewer samples is brighter
    return GridKspace(
        kspace=scale * kspace * sampled,
        sampled=sampled.contiguous(),
        spacing=(column, row, thickness),
        noise_std=None if noise_std is None else noise_std * scale,
    )


def from_kspace(
    grid: GridKspace, raw: RawKspace, *, maps: str, mask: Tensor | None, where: str | Path
) -> Measurement:
    """Measurement of k-space, with coil maps from its centre and its noise standard deviation.

    Args:
        grid: k-space on the grid of the image.
        raw: k-space as the scanner wrote it, for the provenance.
        maps: estimator of the coil sensitivities, a key of ``MAPS``.
        mask: (ky, kx) samples to keep, for experiments with undersampling; all by default.
        where: file to name in errors.

    Raises:
        MedscoreError: there is no fully sampled centre for the maps, or no sample is left.
    """
    sampled = grid.sampled if mask is None else grid.sampled & mask.bool()
    if not bool(sampled.flatten(1).any(1).all()):
        raise MedscoreError(
            "a slice has no samples left", where=where, hint="decrease `acceleration`"
        )
    kspace = grid.kspace * sampled
    shared = sampled[:1, 0][0] if bool((sampled == sampled[:1]).all()) else sampled
    operator: Operator = Fourier(shared)
    if kspace.shape[1] > 1:
        try:
            sensitivity = MAPS[maps](kspace)
        except ValueError as error:
            raise MedscoreError(
                f"coil maps cannot be estimated: {error}",
                where=where,
                hint="sample the centre of k-space",
            ) from error
        operator = MulticoilFourier(sensitivity.to(torch.complex64), shared)
    noise = "unknown" if not grid.noise_std else f"gaussian:{grid.noise_std:.6g}"
    return Measurement(
        data=kspace.numpy(),
        operator=operator,
        task="mri" if kspace.shape[1] == 1 else "mri-multicoil",
        modality="MR",
        image_unit=MAGNITUDE,
        mu_water=None,
        noise=noise,
        affine=centred_affine(kspace.shape[-2], kspace.shape[-1], grid.spacing),
        source=raw.source,
    )


def target_image(grid: GridKspace, name: str, where: str | Path) -> NDArray[np.float32]:
    """Image (slices, H, W) with which reconstructions of undersampled data are compared.

    Args:
        grid: fully sampled k-space on the grid of the image.
        name: kind of target, one of ``TARGETS``.
        where: file to name in errors.

    Raises:
        MedscoreError: k-space is undersampled itself, or the target needs a single coil.
    """
    if not bool(grid.sampled.float().mean() > 0.75):
        share = 100 * float(grid.sampled.float().mean())
        raise MedscoreError(
            f"{share:.0f} % of k-space is sampled, which gives no target",
            where=where,
            hint="use a fully sampled scan, or leave `target` out",
        )
    images = ifft2c(grid.kspace)
    coils = images.shape[1]
    if name == "magnitude" and coils > 1:
        raise MedscoreError(
            f"`target` is magnitude, the scan has {coils} coils",
            where=where,
            hint="use rss or mvue",
        )
    if name == "mvue":
        maps = low_resolution(grid.kspace)
        norm = root_sum_of_squares(maps, 1, keepdim=True)
        images = (maps.conj() * images).sum(1, keepdim=True) / norm.clamp_min(1e-6)
    found: NDArray[np.float32] = root_sum_of_squares(images, 1).numpy()
    return found


def _whole_lines(sampled: Tensor) -> bool:
    """True if every readout line is sampled completely or not at all."""
    return bool((sampled.all(-2) == sampled.any(-2)).all())


def _readout(kspace: Tensor, rows: int) -> Tensor:
    """Crop the readout's field of view, or extend it with zeros, to ``rows`` pixels."""
    lines = _ifft(kspace)
    now = lines.shape[-2]
    made = lines.new_zeros(*lines.shape[:-2], rows, lines.shape[-1])
    kept = min(now, rows)
    old, new = now // 2 - kept // 2, rows // 2 - kept // 2
    made[..., new : new + kept, :] = lines[..., old : old + kept, :]
    return _fft(made)


def _fft(x: Tensor) -> Tensor:
    spectrum = torch.fft.fft(torch.fft.ifftshift(x, dim=-2), dim=-2, norm="ortho")
    centred: Tensor = torch.fft.fftshift(spectrum, dim=-2)
    return centred


def _ifft(x: Tensor) -> Tensor:
    image = torch.fft.ifft(torch.fft.ifftshift(x, dim=-2), dim=-2, norm="ortho")
    centred: Tensor = torch.fft.fftshift(image, dim=-2)
    return centred


def _middle(z: Tensor, size: int) -> Tensor:
    """``size`` x ``size`` samples around the centre."""
    top, left = (n // 2 - size // 2 for n in z.shape[-2:])
    return z[..., top : top + size, left : left + size]


def _noise_std(kspace: Tensor, sampled: Tensor) -> float | None:
    """Noise standard deviation from the corners of k-space; the median over the slices."""
    try:
        levels = [kspace_corners(k[None], t[None]) for k, t in zip(kspace, sampled, strict=True)]
    except ValueError:
        return None
    level = float(torch.cat(levels).median())
    return level if level > 0 else None

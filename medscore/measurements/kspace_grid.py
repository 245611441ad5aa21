r"""From k-space as the scanner wrote it to the grid of the measurement: field of view, resolution.

Where every readout line is sampled completely, its field of view can be chosen after the scan: the
line is transformed, cropped and transformed back, which is exact, and makes the image square.

Where samples are missing (partial echo, elliptical shutter) a line determines no image to crop. Its
samples stay on the oversampled grid, and the image x of the shorter field of view enters the model
padded with zeros,

.. math:: y = P(\Lambda) F\, (0, x, 0),

which is exact if the object lies inside the image. A lower resolution is the middle of k-space.
Intensities are kept: magnitudes are those of the image of all of k-space.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from medscore.datasets.raw.kspace import RawKspace
from medscore.errors import MedscoreError
from medscore.operators.mri.fourier import ifft2c
from medscore.operators.mri.masks import calibration_region
from medscore.operators.mri.sensitivity import tapered
from medscore.operators.noise_level import kspace_corners
from medscore.operators.wrappers.padded import middle

OUTSIDE = 0.05
"""Largest share of the signal outside of the image where it cannot be cropped away."""

LESS = 0.7
"""Share of the noise of the noise scan below which that of k-space itself is believed."""

TOLERANCE = 0.01
"""Relative difference below which two fields of view are taken as equal."""


@dataclass(frozen=True)
class GridKspace:
    """k-space on the grid of the measurement.

    Attributes:
        kspace: (slices, coil, ky, kx) complex64, zero where it was not sampled.
        sampled: (slices, 1, ky, kx) bool.
        size: rows and columns of the image, which is the middle of the image of the whole grid.
        spacing: distance between columns, rows and slices in mm.
        noise_std: standard deviation of the noise in the real and the imaginary part each; ``None``
            where it cannot be estimated.
        notes: what is particular about the image.
        maps: coil sensitivities on the grid of k-space, (slices or 1, coil, rows, columns), where
            the file states them.
    """

    kspace: Tensor
    sampled: Tensor
    size: tuple[int, int]
    spacing: tuple[float, float, float]
    noise_std: float | None
    notes: tuple[str, ...] = ()
    maps: Tensor | None = None


@dataclass(frozen=True)
class FieldOfView:
    """The image that k-space can give.

    Attributes:
        rows: number of rows at the resolution of all samples.
        cropped: whether readout lines are cropped; otherwise the image is padded in the model.
        square: whether the field of view is square.
    """

    rows: int
    cropped: bool
    square: bool


def field_of_view(raw: RawKspace, where: str | Path) -> FieldOfView:
    """The field of view of the image, square where it can be.

    Args:
        raw: k-space as the scanner wrote it.
        where: file to name in errors.

    Raises:
        MedscoreError: the pixel spacing is unknown.
    """
    if raw.spacing is None:
        raise MedscoreError("the pixel spacing is unknown", where=where, hint="set `spacing` in mm")
    ny, nx = raw.kspace.shape[-2:]
    square = round(nx * raw.spacing[0] / raw.spacing[1])
    if bool((raw.sampled.all(axis=1) == raw.sampled.any(axis=1)).all()):
        return FieldOfView(square, cropped=True, square=True)
    least = ny / raw.oversampling
    if least * (1 - TOLERANCE) <= square <= ny:
        return FieldOfView(square, cropped=False, square=True)
    return FieldOfView(min(ny, round(max(least, square))), cropped=False, square=False)


def to_grid(
    raw: RawKspace, size: int | None, where: str | Path, *, given: bool = False
) -> GridKspace:
    """Choose the field of view, and reduce the resolution to ``size`` x ``size`` pixels.

    Args:
        raw: k-space as the scanner wrote it.
        size: pixels per side; by default the resolution is kept.
        where: file to name in errors.
        given: whether the user gave the pixel spacing, so that it may be mistaken.

    Raises:
        MedscoreError: the pixel spacing is unknown, ``size`` exceeds the samples, the field of view
            is not square, or the object is longer than an image that cannot be cropped.
    """
    view = field_of_view(raw, where)
    assert raw.spacing is not None
    column, row, thickness = raw.spacing
    square = (
        f"`spacing` {column:g},{column * raw.kspace.shape[-1] / view.rows:.4g}" if given else ""
    )
    kspace, sampled = torch.from_numpy(raw.kspace), torch.from_numpy(raw.sampled)[:, None]
    noise_std, notes = _noise(raw, kspace, sampled)
    maps = _maps(raw, view, size, where)
    if view.cropped:
        kspace = _readout(kspace, view.rows)
        sampled = sampled.any(-2, keepdim=True).expand(len(sampled), 1, *kspace.shape[-2:])
    ny, nx = kspace.shape[-2:]
    height, width, scale = view.rows, nx, 1.0
    if size is not None:
        _check_size(size, view, (ny, nx), (row * view.rows, column * nx), where, square)
        taken = round(size * ny / view.rows)
        kspace, sampled = _middle(kspace, taken, size), _middle(sampled, taken, size)
        column, row = column * nx / size, row * ny / taken
        scale = math.sqrt(taken * size / (ny * nx))  # an orthonormal transform of fewer is brighter
        height, width = size, size
    kspace = _centred(kspace * sampled, height)
    if not view.square:
        across = f"{row * height:.4g} x {column * width:.4g} mm"
        notes += (
            f"the field of view of {across} is not square: incomplete readouts are not cropped"
            + (f"; if it is square, set {square}" if square else ""),
        )
    if height < kspace.shape[-2]:
        _check_inside(kspace, sampled, height, where)
    return GridKspace(
        kspace=scale * kspace,
        sampled=sampled.contiguous(),
        size=(height, width),
        spacing=(column, row, thickness),
        noise_std=None if noise_std is None else noise_std * scale,
        notes=notes,
        maps=maps,
    )


def _maps(raw: RawKspace, view: FieldOfView, size: int | None, where: str | Path) -> Tensor | None:
    """The coil maps of a file on the grid of the image: rows beyond the field of view go."""
    if raw.maps is None:
        return None
    rows = raw.maps.shape[-2]
    if size is not None or not view.cropped or view.rows > rows:
        raise MedscoreError(
            "coil maps of a file have the grid of k-space, and the image has another",
            where=where,
            hint="leave `size` and sensitivities out, or one of them",
        )
    start = rows // 2 - view.rows // 2
    return torch.from_numpy(raw.maps)[..., start : start + view.rows, :].contiguous()


def _noise(raw: RawKspace, kspace: Tensor, sampled: Tensor) -> tuple[float | None, tuple[str, ...]]:
    """Noise standard deviation: of the noise scan, unless k-space itself has much less noise."""
    seen = _noise_std(kspace, sampled)
    if raw.noise_std is None:
        return seen, ()
    if seen is not None and seen < LESS * raw.noise_std:
        note = f"the noise scan states a noise of {raw.noise_std:.3g}, k-space has {seen:.3g}"
        return seen, (note,)
    return raw.noise_std, ()


def _check_size(
    size: int,
    view: FieldOfView,
    samples: tuple[int, int],
    lengths: tuple[float, float],
    where: str | Path,
    square: str,
) -> None:
    """Reject a size that the samples do not give; ``square`` is the spacing of a square image."""
    if not view.square:
        raise MedscoreError(
            f"`size` is {size}, and the field of view of {lengths[0]:.4g} x {lengths[1]:.4g} mm is "
            "not square, because incomplete readouts cannot be cropped",
            where=where,
            hint="leave `size` out"
            + (f", or set {square} if the image is square" if square else ""),
        )
    most = min(view.rows, *samples)
    if size > most:
        raise MedscoreError(
            f"`size` is {size}, k-space has {view.rows} x {samples[1]} samples for a square image",
            where=where,
            hint=f"use at most {most}",
        )


def _check_inside(kspace: Tensor, sampled: Tensor, rows: int, where: str | Path) -> None:
    """Reject objects that reach far beyond an image that the model pads with zeros."""
    try:
        sides = calibration_region(sampled.all(0)[0])
    except ValueError:  # without a fully sampled centre there is no image to look at
        return
    images = ifft2c(tapered(kspace, sides))
    power = (images.abs() / images.abs().max()).square()
    outside = 1 - float(middle(power, (rows, power.shape[-1])).sum() / power.sum())
    if outside > OUTSIDE:
        raise MedscoreError(
            f"{100 * outside:.0f} % of the signal lies outside of the image along the readout, "
            "which lines that are not sampled completely cannot be cropped to",
            where=where,
            hint="use a scan without partial echo, or with a longer field of view",
        )


def _centred(kspace: Tensor, rows: int) -> Tensor:
    """Shift the image by a pixel where the padding of an odd image in an even one would."""
    ny = kspace.shape[-2]
    if ny % 2 or not rows % 2:
        return kspace
    turn = torch.arange(ny, dtype=torch.float64)[:, None] - ny // 2
    return kspace * torch.polar(torch.ones_like(turn), 2 * math.pi * turn / ny).to(kspace)


def _readout(kspace: Tensor, rows: int) -> Tensor:
    """Crop the readout's field of view, or extend it with zeros, to ``rows`` pixels."""
    return torch.stack([_one_readout(one, rows) for one in kspace])


def _one_readout(kspace: Tensor, rows: int) -> Tensor:
    lines = _ifft(kspace.to(torch.complex128))
    now = lines.shape[-2]
    made = lines.new_zeros(*lines.shape[:-2], rows, lines.shape[-1])
    kept = min(now, rows)
    old, new = now // 2 - kept // 2, rows // 2 - kept // 2
    made[..., new : new + kept, :] = lines[..., old : old + kept, :]
    return _fft(made).to(torch.complex64)


def _fft(x: Tensor) -> Tensor:
    spectrum = torch.fft.fft(torch.fft.ifftshift(x, dim=-2), dim=-2, norm="ortho")
    centred: Tensor = torch.fft.fftshift(spectrum, dim=-2)
    return centred


def _ifft(x: Tensor) -> Tensor:
    image = torch.fft.ifft(torch.fft.ifftshift(x, dim=-2), dim=-2, norm="ortho")
    centred: Tensor = torch.fft.fftshift(image, dim=-2)
    return centred


def _middle(z: Tensor, rows: int, columns: int) -> Tensor:
    """``rows`` x ``columns`` samples around the centre."""
    top, left = z.shape[-2] // 2 - rows // 2, z.shape[-1] // 2 - columns // 2
    return z[..., top : top + rows, left : left + columns]


def _noise_std(kspace: Tensor, sampled: Tensor) -> float | None:
    """Noise standard deviation from the corners of k-space; the median over the slices."""
    try:
        levels = [kspace_corners(k[None], t[None]) for k, t in zip(kspace, sampled, strict=True)]
    except ValueError:
        return None
    level = float(torch.cat(levels).median())
    return level if level > 0 else None

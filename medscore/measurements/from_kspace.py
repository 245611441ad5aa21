"""From raw k-space to a measurement: oversampling, resolution, coil maps, undersampling, targets.

The readout is sampled densely, so its field of view can be chosen after the scan: it is made as
long as that of the phase encoding, and images are square without a model error. Lower resolution is
the middle of k-space. Intensities are kept: magnitudes are those of the whole k-space's image.
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
from medscore.operators.mri.multicoil import MulticoilFourier
from medscore.operators.mri.sensitivity import espirit, low_resolution
from medscore.operators.noise_level import kspace_corners

MAPS: dict[str, Callable[[Tensor], Tensor]] = {
    "low-resolution": low_resolution,
    "espirit": espirit,
}
"""How coil sensitivities are estimated, by name."""

TARGETS = ("rss", "mvue", "magnitude")
"""Images that fully sampled k-space makes: root sum of squares over coils, the minimum-variance
unbiased estimate sum conj(S) x / sqrt(sum |S|^2) in modulus, or one coil's modulus."""


@dataclass(frozen=True)
class Prepared:
    """k-space (slices, coil, ky, kx) on the grid of the image to be made, zero where nothing was
    taken; ``taken`` (slices, 1, ky, kx) bool; pixels (column, row, slice) in mm; deviation of the
    noise in real and imaginary part, None where it cannot be told.
    """

    kspace: Tensor
    taken: Tensor
    spacing: tuple[float, float, float]
    noise_std: float | None


def prepare(raw: RawKspace, size: int | None, where: Path) -> Prepared:
    """Square field of view, and ``size`` x ``size`` pixels if that is asked for.

    Raises:
        MedscoreError: no pixel spacing, or fewer samples than ``size``.
    """
    if raw.spacing is None:
        raise MedscoreError(
            "the pixel spacing is not known", where=where, hint="give it with --spacing in mm"
        )
    column, row, thickness = raw.spacing
    kspace, taken = torch.from_numpy(raw.kspace), torch.from_numpy(raw.taken)[:, None]
    noise = _noise(kspace, taken)
    if _whole_lines(taken):
        kspace = _readout(kspace, round(kspace.shape[-1] * column / row))
        taken = taken.any(-2, keepdim=True).expand(len(taken), 1, *kspace.shape[-2:])
    ny, nx = kspace.shape[-2:]
    scale = 1.0
    if size is not None:
        if size > min(ny, nx):
            raise MedscoreError(
                f"k-space has {ny} x {nx} samples for a square image",
                where=where,
                hint=f"use a --size of at most {min(ny, nx)}",
            )
        kspace, taken = _middle(kspace, size), _middle(taken, size)
        column, row = column * nx / size, row * ny / size
        scale = size / (ny * nx) ** 0.5  # an orthonormal transform of fewer samples is brighter
    return Prepared(
        kspace=scale * kspace * taken,
        taken=taken.contiguous(),
        spacing=(column, row, thickness),
        noise_std=None if noise is None else noise * scale,
    )


def measurement_of(
    prepared: Prepared, raw: RawKspace, *, maps: str, mask: Tensor | None, where: Path
) -> Measurement:
    """What a reconstruction takes: the coils' maps from the centre of what was sampled, its noise.

    Args:
        maps: a name in ``MAPS``. mask: (ky, kx), to keep of what was taken; for experiments.

    Raises:
        MedscoreError: no fully sampled centre to estimate maps from, or nothing left.
    """
    taken = prepared.taken if mask is None else prepared.taken & mask.bool()
    if not bool(taken.flatten(1).any(1).all()):
        raise MedscoreError(
            "of some slice nothing is left", where=where, hint="use a lower --acceleration"
        )
    kspace = prepared.kspace * taken
    shared = taken[:1, 0][0] if bool((taken == taken[:1]).all()) else taken
    operator: Operator = Fourier(shared)
    if kspace.shape[1] > 1:
        try:
            sensitivity = MAPS[maps](kspace)
        except ValueError as error:
            raise MedscoreError(
                f"no coil maps: {error}", where=where, hint="measure the centre of k-space"
            ) from error
        operator = MulticoilFourier(sensitivity.to(torch.complex64), shared)
    noise = "unknown" if not prepared.noise_std else f"gaussian:{prepared.noise_std:.6g}"
    return Measurement(
        data=kspace.numpy(),
        operator=operator,
        task="mri" if kspace.shape[1] == 1 else "mri-multicoil",
        modality="MR",
        image_unit=MAGNITUDE,
        mu_water=None,
        noise=noise,
        affine=centred_affine(kspace.shape[-2], kspace.shape[-1], prepared.spacing),
        source=raw.source,
    )


def target(prepared: Prepared, name: str, where: Path) -> NDArray[np.float32]:
    """The image (slices, H, W) that reconstructions of undersampled data are compared to.

    Args:
        name: one of ``TARGETS``.

    Raises:
        MedscoreError: k-space is undersampled itself, or the target needs one coil.
    """
    if not bool(prepared.taken.float().mean() > 0.75):
        share = 100 * float(prepared.taken.float().mean())
        raise MedscoreError(
            f"{share:.0f} % of k-space was sampled: it has no target",
            where=where,
            hint="give a fully sampled scan, or leave --target out",
        )
    images = ifft2c(prepared.kspace)
    coils = images.shape[1]
    if name == "magnitude" and coils > 1:
        raise MedscoreError(
            f"there are {coils} coils", where=where, hint="use --target rss or mvue"
        )
    if name == "mvue":
        maps = low_resolution(prepared.kspace)
        norm = maps.abs().square().sum(1, keepdim=True).sqrt()
        images = (maps.conj() * images).sum(1, keepdim=True) / norm.clamp_min(1e-6)
    found: NDArray[np.float32] = images.abs().square().sum(1).sqrt().numpy()
    return found


def _whole_lines(taken: Tensor) -> bool:
    """Whether every readout line was taken whole, or not at all."""
    return bool((taken.all(-2) == taken.any(-2)).all())


def _readout(kspace: Tensor, rows: int) -> Tensor:
    """Its field of view cut or extended by air to ``rows`` pixels of the same size."""
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


def _noise(kspace: Tensor, taken: Tensor) -> float | None:
    """From the corners of all that was sampled; the median of the slices."""
    try:
        levels = [kspace_corners(k[None], t[None]) for k, t in zip(kspace, taken, strict=True)]
    except ValueError:
        return None
    level = float(torch.cat(levels).median())
    return level if level > 0 else None

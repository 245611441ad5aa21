"""From k-space on its grid to a measurement: coil maps, undersampling, targets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medscore.datasets.raw.kspace import RawKspace
from medscore.datasets.volume import Source, centred_affine
from medscore.errors import MedscoreError
from medscore.measurements.coil_maps import coil_maps
from medscore.measurements.kspace_grid import GridKspace
from medscore.measurements.measurement import MAGNITUDE, Measurement
from medscore.operators.base import Operator
from medscore.operators.mri.fourier import Fourier, ifft2c
from medscore.operators.mri.masks import calibration_region
from medscore.operators.mri.multicoil import MulticoilFourier
from medscore.operators.mri.sensitivity import low_resolution
from medscore.operators.wrappers.padded import Padded, middle

TARGETS = ("rss", "mvue", "magnitude")
"""Images of fully sampled k-space: root sum of squares over coils; the modulus of the minimum-
variance unbiased estimate sum conj(S) x / sqrt(sum |S|^2); the modulus of one coil."""


def from_kspace(
    grid: GridKspace, raw: RawKspace, *, maps: str, mask: Tensor | None, where: str | Path
) -> Measurement:
    """Measurement of k-space, with coil maps from its centre and its noise standard deviation.

    Args:
        grid: k-space on the grid of the image.
        raw: k-space as the scanner wrote it, for the provenance.
        maps: estimator of the coil sensitivities, a key of
            :data:`~medscore.measurements.coil_maps.MAPS`.
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
    try:
        if kspace.shape[1] > 1:
            if grid.maps is None:
                sensitivity = coil_maps(maps, kspace, sampled.all(0)[0])
            else:
                sensitivity = grid.maps.expand(len(kspace), -1, -1, -1)
            operator: Operator = MulticoilFourier(sensitivity.to(torch.complex64), shared)
        else:
            operator = Fourier(shared)
    except ValueError as error:
        raise MedscoreError(
            f"coil maps cannot be estimated: {error}",
            where=where,
            hint="sample more of the centre of k-space, or use another estimator",
        ) from error
    if operator.image_shape != grid.size:
        operator = Padded(operator, *grid.size)
    source = replace(raw.source, notes=raw.source.notes + grid.notes)
    affine = centred_affine(*grid.size, grid.spacing)
    return mr_measurement(kspace, operator, grid.noise_std or 0.0, affine, source)


def mr_measurement(
    kspace: Tensor,
    operator: Operator,
    noise_std: float,
    affine: NDArray[np.float64],
    source: Source,
) -> Measurement:
    """The measurement of a scanner's k-space.

    Args:
        kspace: (slices, coils, ...), zero where nothing was measured.
        operator: the scan.
        noise_std: noise standard deviation of the real and the imaginary part; 0 if it is unknown.
        affine: affine matrix of the image.
        source: what the data are from.
    """
    return Measurement(
        data=kspace.numpy(),
        operator=operator,
        task="mri" if kspace.shape[1] == 1 else "mri-multicoil",
        modality="MR",
        image_unit=MAGNITUDE,
        mu_water=None,
        noise=f"gaussian:{noise_std:.6g}" if noise_std > 0 else "unknown",
        affine=affine,
        source=source,
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
    peak = grid.kspace.abs().max()  # squares of extreme values leave single precision
    kspace = grid.kspace / peak
    images = ifft2c(kspace)
    coils = images.shape[1]
    if name == "magnitude" and coils > 1:
        raise MedscoreError(
            f"`target` is magnitude, the scan has {coils} coils",
            where=where,
            hint="use rss or mvue",
        )
    if name == "mvue":
        maps = low_resolution(kspace, calibration_region(grid.sampled.all(0)[0]))
        norm = maps.abs().square().sum(1, keepdim=True).sqrt()
        images = (maps.conj() * images).sum(1, keepdim=True) / norm.clamp_min(1e-6)
    sizes = peak * images.abs().square().sum(1).sqrt()
    found: NDArray[np.float32] = middle(sizes, grid.size).numpy()
    return found

"""Simulated MR scans: of real or complex images, with known or estimated coil maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import torch
from torch import Tensor

from medscore.datasets.collections.phase import random_phase
from medscore.errors import MedscoreError
from medscore.measurements.choices import MOST_COILS, Choices, Grid, Scan
from medscore.measurements.coil_maps import MAPS, coil_maps
from medscore.measurements.kspace_mask import kspace_mask
from medscore.measurements.measurement import MAGNITUDE
from medscore.measurements.square import plain
from medscore.measurements.trajectory import CARTESIAN, check_trajectory, trajectory_of
from medscore.operators.base import Operator
from medscore.operators.mri.centre import gridded, sampled_cells
from medscore.operators.mri.fourier import Fourier
from medscore.operators.mri.multicoil import MulticoilFourier
from medscore.operators.mri.multicoil_nufft import MulticoilNonuniform
from medscore.operators.mri.nufft import NonuniformFourier
from medscore.operators.mri.real_images import Phased
from medscore.operators.mri.sensitivity import birdcage
from medscore.operators.noise import (
    ComplexGaussianNoise,
    GaussianNoise,
    Noiseless,
    NoiseModel,
    PoissonNoise,
)

PHASES = ("none", "random")
"""Phases of the image: none, so that k-space is Hermitian, or a random one for each slice."""

OfMaps: TypeAlias = Callable[[Tensor], Operator]
"""The operator of a scan from its coil maps, (coil, H, W) or those of each slice."""

Centre: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]
"""k-space on its grid (slices, coil, ky, kx) from the data, and its completely sampled points."""

KNOWN = "known"
"""The simulated coil maps themselves, in place of an estimate."""


def one_coil(grid: Grid, c: Choices) -> Scan:
    """k-space of one coil, on Cartesian lines or along a trajectory.

    Args:
        grid: the image's grid.
        c: parameters of the scan.

    Raises:
        MedscoreError: an invalid sampling pattern, trajectory, acceleration, phase or noise, or
            finufft is needed and not installed.
    """
    check_trajectory(c.trajectory, c.mask)
    if c.trajectory == CARTESIAN:
        return _scan(Fourier(_mask(grid, c)), grid, c)
    points = trajectory_of(grid.shape, c.trajectory, c.acceleration)
    return _scan(NonuniformFourier(*points, *grid.shape), grid, c)


def many_coils(grid: Grid, c: Choices) -> Scan:
    """k-space of several coils around the image, on Cartesian lines or along a trajectory.

    The coil maps of the reconstruction are the simulated ones, or estimated from the centre of the
    simulated data, as those of a scanner are.

    Args:
        grid: the image's grid.
        c: parameters of the scan.

    Raises:
        MedscoreError: as :func:`one_coil`, or an invalid number of coils or estimator of maps.
    """
    if not 1 <= c.coils <= MOST_COILS:
        raise MedscoreError(f"`coils` is {c.coils}", hint=f"use 1 to {MOST_COILS}")
    if c.maps not in (KNOWN, *MAPS):
        known = ", ".join((KNOWN, *MAPS))
        raise MedscoreError(f"`maps` is {c.maps!r}", hint=f"use one of: {known}")
    check_trajectory(c.trajectory, c.mask)
    measure = _along_a_trajectory if c.trajectory != CARTESIAN else _on_lines
    of_maps, centre = measure(grid, c)
    scan = _scan(of_maps(birdcage(c.coils, *grid.shape)), grid, c)
    if c.maps == KNOWN:
        return scan

    def calibrated(data: Tensor) -> Operator:
        # their phase is that of a coil or of the image, so an image without one has one for them
        return of_maps(coil_maps(c.maps, *centre(data)))

    noise = "unknown" if isinstance(c.noise, Noiseless) else None
    return replace(scan, noise=noise, calibrated=calibrated)


def _on_lines(grid: Grid, c: Choices) -> tuple[OfMaps, Centre]:
    mask = _mask(grid, c)
    return lambda maps: MulticoilFourier(maps, mask), lambda data: (data, mask)


def _along_a_trajectory(grid: Grid, c: Choices) -> tuple[OfMaps, Centre]:
    points = trajectory_of(grid.shape, c.trajectory, c.acceleration)
    alone = NonuniformFourier(*points, *grid.shape)

    def centre(data: Tensor) -> tuple[Tensor, Tensor]:
        sampled = sampled_cells(alone)
        return gridded(alone, data) * sampled, sampled

    return lambda maps: MulticoilNonuniform(maps, *points), centre


def _scan(operator: Operator, grid: Grid, c: Choices) -> Scan:
    noise = _receiver(c.noise)
    if c.phase not in PHASES:
        raise MedscoreError(f"`phase` is {c.phase!r}", hint=f"use one of: {', '.join(PHASES)}")
    seen = _on_images(operator, c)
    none = c.phase == "none"
    measure = plain(seen, noise) if none else _with_phase(seen, noise, grid.spacing)
    return Scan(seen, MAGNITUDE, measure)


def _with_phase(
    operator: Operator, noise: NoiseModel, pixel_mm: float
) -> Callable[[Tensor, torch.Generator], Tensor]:
    """The measurement of a magnitude (1, 1, H, W) with a random phase."""

    def measure(image: Tensor, generator: torch.Generator) -> Tensor:
        largest = image.abs().max().clamp_min(torch.finfo(image.dtype).tiny)
        phase = random_phase(image[0, 0] / largest, pixel_mm, generator)
        y = operator.forward(torch.polar(image, phase.expand_as(image).to(image)))
        return noise(y, operator.mask(y), generator)

    return measure


def _on_images(operator: Operator, c: Choices) -> Operator:
    """The operator on complex images, or on real ones where they have no phase."""
    if c.phase != "none":
        return operator
    return Phased(operator, torch.ones(operator.image_shape[-2:], dtype=torch.complex64))


def _receiver(noise: NoiseModel) -> NoiseModel:
    if isinstance(noise, PoissonNoise):
        raise MedscoreError("an MRI receiver counts no photons", hint="set `noise` to gaussian:STD")
    return ComplexGaussianNoise(noise.std) if isinstance(noise, GaussianNoise) else noise


def _mask(grid: Grid, c: Choices) -> Tensor:
    return kspace_mask(grid.shape, c.mask, c.acceleration, c.seed)

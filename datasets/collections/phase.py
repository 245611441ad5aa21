r"""Random phase of MR images, as scanners measure it, for magnitudes whose phase was not kept.

The image of a magnitude m is :math:`x = m e^{i \varphi}`. The phase is the sum of

- a constant, and a ramp from the echo's shift by up to ``SHIFT`` samples of k-space;
- a smooth field, from the transmit and receive fields and the eddy currents: a Gaussian random
  field with the correlation :math:`e^{-r^2 / 2 l^2}`, as a sum of Fourier modes;
- the phase that is left by the combination of several coils, whose smooth profiles have phases of
  their own: smooth, but for fast changes between their regions;
- the field of the susceptibility of air and tissue, which is strongest at their borders, where it
  wraps. It is the convolution of the tissue with the field of a dipole, of the Fourier transform
  :math:`1/3 - \sin^2\theta\, (k \cdot b)^2 / |k|^2` for objects that do not change through the
  plane, with b the direction of B0 in the plane and theta its angle to the plane's normal
  (Salomir et al. 2003; Marques and Bowtell 2005). Long waves are damped, because real
  cavities end through the plane.

What is dark counts as air, and so does everything outside of the slice. Noise is not part of this
model: the bias of magnitudes at low signal (Rician noise) stays in the images.
"""

from __future__ import annotations

import math

import torch
from scipy.fft import next_fast_len
from torch import Tensor

SHIFT = 1.5
"""Largest shift of the echo along each axis, in samples of k-space; cycles over the slice."""

SMOOTH = 2.0
"""Largest standard deviation of the smooth field in radians."""

LENGTH_MM = (20.0, 100.0)
"""Smallest and largest correlation length of the smooth field in mm."""

COILS = (2, 8)
"""Smallest and largest number of coils."""

CYCLES = 4.0
"""Largest phase of the susceptibility's field, in cycles."""

DARK = (0.04, 0.15)
"""Smallest and largest threshold below which a pixel counts as air."""

REACH_MM = 10.0
"""Waves of more than 2 pi times this length are damped in the susceptibility's field, in mm."""

BLUR_MM = (1.0, 4.0)
"""Smallest and largest width of the blur of the susceptibility's field, in mm."""


def with_phase(magnitude: Tensor, phase: Tensor) -> Tensor:
    """The complex image of a magnitude and a phase, as two channels (2, H, W).

    Args:
        magnitude: (H, W).
        phase: (H, W) in radians.
    """
    return torch.stack([magnitude * phase.cos(), magnitude * phase.sin()])


def random_phase(magnitude: Tensor, pixel_mm: float, generator: torch.Generator) -> Tensor:
    """A random phase for a slice, (H, W) float32 in radians, not wrapped.

    Args:
        magnitude: the slice (H, W), in units of about its largest value.
        pixel_mm: pixel size in mm.
        generator: source of all random numbers.
    """
    shape = magnitude.shape[0], magnitude.shape[1]
    offset, down, across, smooth, length, unlike, cycles = torch.rand(
        7, generator=generator
    ).tolist()
    y, x = (torch.linspace(-math.pi, math.pi, n) for n in shape)
    ramp = SHIFT * ((2 * down - 1) * y[:, None] + (2 * across - 1) * x)
    low, high = LENGTH_MM
    field = smooth_field(shape, pixel_mm, low * (high / low) ** length, generator)
    coils = coil_phase(shape, unlike, generator)
    peak = 2 * math.pi * CYCLES * cycles**3
    local = susceptibility_field(magnitude, pixel_mm, generator)
    phase: Tensor = 2 * math.pi * offset + ramp + SMOOTH * smooth * field + coils + peak * local
    return phase


def smooth_field(
    shape: tuple[int, int], pixel_mm: float, length_mm: float, generator: torch.Generator
) -> Tensor:
    r"""A Gaussian random field of unit variance with the correlation exp(-r^2 / 2 l^2), (H, W).

    It is the real part of the Fourier modes :math:`\sum_{jk} a_j a_k z_{jk} e^{2 \pi i (f_j y + f_k
    x)}` with :math:`a \propto e^{-\pi^2 l^2 f^2}`, whose period is longer than the slice by four
    correlation lengths; modes above 0.6 / l are left out.

    Args:
        shape: rows and columns.
        pixel_mm: pixel size in mm.
        length_mm: correlation length l in mm.
        generator: source of the random numbers.
    """
    period = max(shape) * pixel_mm + 4 * length_mm
    most = math.ceil(0.6 * period / length_mm)
    f = torch.arange(-most, most + 1) / period
    amplitude = torch.exp(-((math.pi * length_mm * f) ** 2))
    amplitude = amplitude / amplitude.square().sum().sqrt()
    z = torch.randn(2, len(f), len(f), generator=generator)
    modes = torch.complex(*z) * amplitude[:, None] * amplitude
    down, across = (
        torch.polar(torch.ones(n, len(f)), 2 * math.pi * pixel_mm * torch.arange(n)[:, None] * f)
        for n in shape
    )
    return (down @ modes @ across.T).real


def coil_phase(shape: tuple[int, int], unlike: float, generator: torch.Generator) -> Tensor:
    """The phase of a sum of coil profiles around the slice, (H, W) in radians, from -pi to pi.

    The profiles are Gaussian functions whose centres lie around the slice, each with a phase that
    is constant and one that is linear.

    Args:
        shape: rows and columns.
        unlike: how much the coils' phases differ, from 0, where the sum has no phase, to 1, where
            they are all arbitrary.
        generator: source of the random numbers.
    """
    low, high = COILS
    count = low + int(torch.randint(high - low + 1, (), generator=generator))
    place, width, angle, tilt_y, tilt_x = torch.rand(5, count, generator=generator)
    factors = []
    for n, centre, tilt in (
        (shape[0], torch.sin(2 * math.pi * place), tilt_y),
        (shape[1], torch.cos(2 * math.pi * place), tilt_x),
    ):
        at = (torch.arange(n) + 0.5 - n / 2) * 2 / max(shape)
        size = torch.exp(-((at - 1.2 * centre[:, None]) ** 2) / (0.5 + width[:, None]) ** 2)
        factors.append(torch.polar(size, unlike * math.pi * (2 * tilt[:, None] - 1) * at))
    constant = torch.polar(torch.ones(count), unlike * math.pi * (2 * angle - 1))
    return torch.angle((constant[:, None] * factors[0]).T @ factors[1])


def susceptibility_field(magnitude: Tensor, pixel_mm: float, generator: torch.Generator) -> Tensor:
    """The field of the tissue's susceptibility, (H, W), with 1 as its largest absolute value.

    Args:
        magnitude: the slice (H, W), in units of about its largest value.
        pixel_mm: pixel size in mm.
        generator: source of the random numbers.
    """
    dark, tilt, direction, blur = torch.rand(4, generator=generator).tolist()
    (low, high), (fine, coarse) = DARK, BLUR_MM
    tissue = (magnitude > low + (high - low) * dark).float()
    rows, columns = tissue.shape
    size = next_fast_len(rows, real=True), next_fast_len(columns, real=True)
    ky = torch.fft.fftfreq(size[0], pixel_mm)[:, None]
    kx = torch.fft.rfftfreq(size[1], pixel_mm)
    square = ky**2 + kx**2
    along = math.sin(math.pi * direction) * ky + math.cos(math.pi * direction) * kx
    dipole = 1 / 3 - tilt * along**2 / square.clamp_min(1e-12)
    width = fine + (coarse - fine) * blur
    band = torch.exp(-2 * (math.pi * width) ** 2 * square)
    band = band * (1 - torch.exp(-2 * (math.pi * REACH_MM) ** 2 * square))
    spectrum = torch.fft.rfft2(tissue, s=size) * dipole * band
    field: Tensor = torch.fft.irfft2(spectrum, s=size)[:rows, :columns]
    return field / field.abs().max().clamp_min(1e-6)

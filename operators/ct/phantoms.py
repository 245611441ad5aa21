"""Ellipse phantoms: images and their exact Radon and Fourier transforms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medscore.operators.ct.geometry import Geometry


@dataclass(frozen=True)
class Ellipse:
    """A constant ellipse.

    Attributes:
        value: its value, added to what it overlaps.
        x: position of the centre in mm, to the right.
        y: position of the centre in mm, upwards.
        a: semi-axis along x (before rotation) in mm.
        b: semi-axis along y (before rotation) in mm.
        angle: rotation in radians, counter-clockwise.
    """

    value: float
    x: float
    y: float
    a: float
    b: float
    angle: float = 0.0


SHEPP_LOGAN = (
    Ellipse(1.0, 0.0, 0.0, 0.69, 0.92),
    Ellipse(-0.8, 0.0, -0.0184, 0.6624, 0.874),
    Ellipse(-0.2, 0.22, 0.0, 0.11, 0.31, -0.314159),
    Ellipse(-0.2, -0.22, 0.0, 0.16, 0.41, 0.314159),
    Ellipse(0.1, 0.0, 0.35, 0.21, 0.25),
    Ellipse(0.1, 0.0, 0.1, 0.046, 0.046),
    Ellipse(0.1, 0.0, -0.1, 0.046, 0.046),
    Ellipse(0.1, -0.08, -0.605, 0.046, 0.023),
    Ellipse(0.1, 0.0, -0.606, 0.023, 0.023),
    Ellipse(0.1, 0.06, -0.605, 0.023, 0.046),
)
"""The head phantom of Shepp and Logan (1974) with the contrast of Toft (1996), half side 1 mm."""


def scaled(ellipses: Sequence[Ellipse], factor: float) -> tuple[Ellipse, ...]:
    """A phantom with all lengths multiplied by a factor.

    Args:
        ellipses: the phantom.
        factor: the factor.
    """
    return tuple(
        Ellipse(e.value, e.x * factor, e.y * factor, e.a * factor, e.b * factor, e.angle)
        for e in ellipses
    )


def rasterize(
    ellipses: Sequence[Ellipse], size: int, spacing: float, *, samples: int = 8
) -> Tensor:
    """The phantom as an image (1, 1, size, size), float64.

    Args:
        ellipses: the phantom.
        size: number of pixels per side.
        spacing: pixel spacing in mm.
        samples: a pixel is the mean of ``samples`` x ``samples`` points.
    """
    fine = size * samples
    axis = (torch.arange(fine, dtype=torch.float64) - (fine - 1) / 2) * (spacing / samples)
    x, y = axis[None, :], -axis[:, None]
    image = torch.zeros(fine, fine, dtype=torch.float64)
    for e in ellipses:
        cos, sin = torch.cos(torch.tensor(e.angle)), torch.sin(torch.tensor(e.angle))
        u = ((x - e.x) * cos + (y - e.y) * sin) / e.a
        v = (-(x - e.x) * sin + (y - e.y) * cos) / e.b
        image += e.value * (u**2 + v**2 <= 1)
    return torch.nn.functional.avg_pool2d(image[None, None], samples)


def exact_sinogram(ellipses: Sequence[Ellipse], geometry: Geometry) -> Tensor:
    r"""Exact line integrals (1, 1, views, detectors), float64.

    In coordinates where the ellipse is the unit circle the ray is p + l d; it is inside between the
    roots of :math:`|d|^2 l^2 + 2 (p \cdot d) l + |p|^2 - 1`.

    Args:
        ellipses: the phantom.
        geometry: the scan.
    """
    view = torch.arange(geometry.views).repeat_interleave(geometry.detectors)
    rays = geometry.rays(view, torch.arange(geometry.detectors).repeat(geometry.views))
    total = torch.zeros(len(view), dtype=torch.float64)
    for e in ellipses:
        cos, sin = math.cos(e.angle), math.sin(e.angle)
        axes = torch.tensor([[cos / e.a, -sin / e.b], [sin / e.a, cos / e.b]], dtype=torch.float64)
        p = (rays.point - torch.tensor([e.x, e.y], dtype=torch.float64)) @ axes
        d = rays.direction @ axes
        square, half, rest = (d * d).sum(1), (p * d).sum(1), (p * p).sum(1) - 1
        inside = (half**2 - square * rest).clamp_min(0)
        total += 2 * e.value * inside.sqrt() / square
    return total.reshape(1, 1, geometry.views, geometry.detectors)


def exact_kspace(ellipses: Sequence[Ellipse], shape: tuple[int, int], spacing: float) -> Tensor:
    r"""Exact k-space (1, 1, ky, kx), complex128, of the continuous phantom.

    The grid and the unit are those of :class:`~medscore.operators.mri.fourier.Fourier` on an image
    with pixels of ``spacing`` mm; there is no discretisation error. The transform of a unit disc is
    :math:`J_1(2 \pi \rho) / \rho`; an ellipse is a scaled, rotated and shifted disc.

    Args:
        ellipses: the phantom.
        shape: (ky, kx).
        spacing: pixel spacing in mm.
    """
    (ny, nx), pixels = shape, math.prod(shape)
    kx = (torch.arange(nx, dtype=torch.float64) - nx // 2)[None, :] / nx
    ky = (torch.arange(ny, dtype=torch.float64) - ny // 2)[:, None] / ny
    u, v = kx / spacing, -ky / spacing  # row indices increase downwards
    total = torch.zeros(ny, nx, dtype=torch.complex128)
    for e in ellipses:
        cos, sin = math.cos(e.angle), math.sin(e.angle)
        rho = torch.hypot(e.a * (u * cos + v * sin), e.b * (v * cos - u * sin))
        disc = torch.special.bessel_j1(2 * math.pi * rho) / rho.clamp_min(1e-12)
        disc = torch.where(rho < 1e-9, math.pi, disc)
        phase = -2 * math.pi * (u * e.x + v * e.y)
        total += e.value * e.a * e.b * torch.polar(disc.abs(), phase) * disc.sign()
    # the origin lies between the central pixels, the centre of the transform is pixel n // 2
    shift = -2 * math.pi * (kx * ((nx - 1) / 2 - nx // 2) + ky * ((ny - 1) / 2 - ny // 2))
    kspace = total * torch.polar(torch.ones_like(shift), shift) / (math.sqrt(pixels) * spacing**2)
    return kspace[None, None]

r"""Trajectories of k-space: radial and spiral ones, (2, samples) of ky and kx in radians per pixel.

Arms (spokes or spirals) stand one after the other, each with the same number of samples. All arms
together determine the image within the disc of radius pi. What gradients can do is not modelled.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TURNS = 0.8
"""Distance of neighbouring turns of spirals in Cartesian samples; 1 would suffice for a disc."""

FINE = 64
"""Steps per Cartesian sample of the radius in which the length of a spiral is computed."""


def radial_trajectory(size: int, spokes: int) -> Tensor:
    """Equally spaced lines through the centre over 180 degrees, (2, spokes * 2 size).

    Args:
        size: side of the image; a spoke has twice as many samples.
        spokes: number of lines, one after the other in the result.
    """
    r = (torch.arange(2 * size, dtype=torch.float64) - size) * (math.pi / size)
    angle = torch.arange(spokes, dtype=torch.float64)[:, None] * (math.pi / spokes)
    return torch.stack([(r * angle.sin()).flatten(), (r * angle.cos()).flatten()])


def complete_spokes(size: int) -> int:
    """Smallest number of spokes whose ends are at most a Cartesian sample apart.

    Args:
        size: side of the image.
    """
    return math.ceil(math.pi / 2 * size)


def spiral_trajectory(size: int, arms: int, *, every: int = 1, dense: float = 0.0) -> Tensor:
    r"""Archimedean spirals from the centre of k-space to pi, (2, arms * samples).

    The turns of all arms together are ``TURNS`` Cartesian samples apart, so that they determine a
    square image. Within the radius ``dense`` the turns of one arm are closer by the factor
    ``every``, so that every ``every``-th arm suffices there: a dual-density spiral (Tsai and
    Nishimura 2000). The samples of an arm are equally far apart along it, by at most ``TURNS``.

    Args:
        size: side of the image.
        arms: number of spirals, one after the other in the result.
        every: the centre is complete with every ``every``-th arm.
        dense: radius of the centre in Cartesian samples.
    """
    radius = torch.linspace(0, size / 2, FINE * size // 2 + 1, dtype=torch.float64)
    closer = radius.clamp_max(dense) * every + (radius - dense).clamp_min(0)
    turned = 2 * math.pi / (TURNS * arms) * closer
    step = torch.hypot(radius.diff(), (radius[1:] + radius[:-1]) / 2 * turned.diff())
    length = torch.cat([step.new_zeros(1), step.cumsum(0)])
    samples = math.ceil(float(length[-1]) / TURNS) + 1
    at = torch.linspace(0, 1, samples, dtype=torch.float64) * length[-1]
    r, angle = _interpolated(at, length, radius), _interpolated(at, length, turned)
    angle = angle + 2 * math.pi / arms * torch.arange(arms, dtype=torch.float64)[:, None]
    r = r * (2 * math.pi / size)
    return torch.stack([(r * angle.sin()).flatten(), (r * angle.cos()).flatten()])


def _interpolated(at: Tensor, known: Tensor, values: Tensor) -> Tensor:
    """Linear interpolation of ``values`` at the increasing places ``known``."""
    right = torch.searchsorted(known, at).clamp(1, len(known) - 1)
    share = (at - known[right - 1]) / (known[right] - known[right - 1])
    return torch.lerp(values[right - 1], values[right], share)

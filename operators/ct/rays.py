"""Lines in the plane, and the rays that generate all rays of a symmetric scan."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rays:
    """Lines in the plane.

    Attributes:
        point: a point of each line in mm, (rays, 2).
        direction: unit vectors, (rays, 2).
    """

    point: Tensor
    direction: Tensor


@dataclass(frozen=True)
class Seeds:
    """Rays that symmetries of the square map to all rays of a scan.

    Attributes:
        views: view of each seed, (seeds,).
        detectors: detector of each seed, (seeds,).
        image_views: view to which symmetry g maps each seed, (symmetries, seeds).
        image_detectors: detector to which symmetry g maps each seed, (symmetries, seeds).
        symmetries: their places in :func:`medscore.operators.ct.symmetry.octet`; all by default.
    """

    views: Tensor
    detectors: Tensor
    image_views: Tensor
    image_detectors: Tensor
    symmetries: tuple[int, ...] = tuple(range(8))


def parallel_rays(theta: Tensor, s: Tensor) -> Rays:
    """The rays of a parallel beam.

    Args:
        theta: angle of the view of each ray in radians, (rays,).
        s: detector offset of each ray in mm, (rays,).
    """
    axis = torch.stack([theta.cos(), theta.sin()], -1)
    return Rays(s[:, None] * axis, torch.stack([-theta.sin(), theta.cos()], -1))


def centred(n: int) -> Tensor:
    """``n`` consecutive numbers with mean zero, float64."""
    return torch.arange(n, dtype=torch.float64) - (n - 1) / 2


def pairs(views: range, detectors: range) -> tuple[Tensor, Tensor]:
    """All combinations of a view and a detector, as two index arrays.

    Args:
        views: indices of the views.
        detectors: indices of the detectors.
    """
    product = torch.cartesian_prod(torch.tensor(views), torch.tensor(detectors))
    return product[:, 0], product[:, 1]

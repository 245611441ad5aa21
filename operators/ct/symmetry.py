"""The symmetries of the square in a projector: an eighth of the matrix for eight images.

Where the detector is displaced, the rotations remain: a quarter of the matrix for four images (half
of it for two, where a parallel beam spans half a turn).

The line integral of x along the image of a seed ray under symmetry g equals that of x o g along the
seed ray. So the matrix is stored for the seed rays only, and one image becomes a small batch.
This is done by index arrays, which are computed once per geometry.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medscore.operators.ct.geometry import Geometry
from medscore.operators.ct.rays import Rays


@dataclass(frozen=True)
class Plan:
    """Index arrays between images, seed rays and sinograms.

    Attributes:
        order: number n of symmetries: 8, 4, 2 or 1.
        rays: the seed rays.
        turn: (pixels * n,): pixel q of x o g is pixel ``turn[q * n + g]`` of x.
        unturn: (pixels, n): the positions q * n + g of pixel p of x.
        take: (views * detectors,): the seed and symmetry of each ray, as seed * n + g.
        give: (seeds * n,): the inverse of ``take``; views * detectors where a ray is not used.
    """

    order: int
    rays: Rays
    turn: Tensor
    unturn: Tensor
    take: Tensor
    give: Tensor


def plan(geometry: Geometry, views: tuple[int, ...] | None = None) -> Plan:
    """The plan of a geometry; symmetry is used for all views, if there is one.

    Args:
        geometry: the scan.
        views: indices of the views, or ``None`` for all.

    Raises:
        ValueError: the seeds of the geometry do not generate all of its rays.
    """
    seeds, rays = geometry.seeds() if views is None else None, seed_rays(geometry, views)
    if seeds is None:
        pixel, ray = torch.arange(geometry.size**2), torch.arange(len(rays.point))
        return Plan(1, rays, pixel, pixel[:, None], ray, ray)
    pixels, n = geometry.size**2, len(seeds.symmetries)
    square = torch.arange(pixels).reshape(geometry.size, geometry.size)
    images = octet(square)
    turn = torch.stack([images[g].flatten() for g in seeds.symmetries], 1)
    unturn = torch.empty_like(turn)
    for g in range(n):
        unturn[turn[:, g], g] = torch.arange(pixels) * n + g
    count, total = len(seeds.views), geometry.views * geometry.detectors
    image = seeds.image_views * geometry.detectors + seeds.image_detectors
    take = torch.full((total,), -1)
    for g in range(n):
        take[image[g]] = torch.arange(count) * n + g
    if bool((take < 0).any()):
        raise ValueError(f"the seeds of {geometry} do not generate all of its rays")
    give = torch.full((count * n,), total)
    give[take] = torch.arange(total)
    return Plan(n, rays, turn.flatten(), unturn, take, give)


def seed_rays(geometry: Geometry, views: tuple[int, ...] | None = None) -> Rays:
    """The rays that a projector stores: all of them, where no symmetry is used.

    Args:
        geometry: the scan.
        views: indices of the views, or ``None`` for all.
    """
    if views is None and (seeds := geometry.seeds()) is not None:
        return geometry.rays(seeds.views, seeds.detectors)
    chosen = torch.arange(geometry.views) if views is None else torch.tensor(views)
    view = chosen.repeat_interleave(geometry.detectors)
    return geometry.rays(view, torch.arange(geometry.detectors).repeat(len(chosen)))


def symmetries(geometry: Geometry, views: tuple[int, ...] | None = None) -> int:
    """The order of the plan of a geometry.

    Args:
        geometry: the scan.
        views: indices of the views, or ``None`` for all.
    """
    seeds = geometry.seeds() if views is None else None
    return 1 if seeds is None else len(seeds.symmetries)


def octet(x: Tensor) -> list[Tensor]:
    """``x`` composed with the 8 symmetries of the square; rows increase downwards, y upwards."""
    t = x.transpose(-1, -2)
    # identity, (x, y) -> (y, x), quarter turn (x, y) -> (-y, x), (x, y) -> (-x, y)
    four = [x, t.flip(-1, -2), t.flip(-1), x.flip(-1)]
    return four + [image.flip(-1, -2) for image in four]

"""The symmetries of the square in a projector: an eighth of the matrix for eight images.

The line integral of x along the image of a seed ray under symmetry g equals that of x o g along the
seed ray. So the matrix is stored for the seed rays only, and one image becomes a batch of eight.
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
        order: number of symmetries, 8 or 1.
        rays: the seed rays.
        turn: (pixels * 8,): pixel q of x o g is pixel ``turn[q * 8 + g]`` of x.
        unturn: (pixels, 8): the positions q * 8 + g of pixel p of x.
        take: (views * detectors,): the seed and symmetry of each ray, as seed * 8 + g.
        give: (seeds * 8,): the inverse of ``take``; views * detectors where a ray is not used.
    """

    order: int
    rays: Rays
    turn: Tensor
    unturn: Tensor
    take: Tensor
    give: Tensor

    def to(self, device: torch.device) -> Plan:
        """The plan with its index arrays on ``device``."""
        moved = (t.to(device) for t in (self.turn, self.unturn, self.take, self.give))
        return Plan(self.order, self.rays, *moved)


def plan(geometry: Geometry, views: tuple[int, ...] | None = None) -> Plan:
    """The plan of a geometry; symmetry is used for all views, if there is one.

    Args:
        geometry: the scan.
        views: indices of the views, or ``None`` for all.

    Raises:
        ValueError: the seeds of the geometry do not generate all of its rays.
    """
    seeds = geometry.seeds() if views is None else None
    if seeds is None:
        chosen = torch.arange(geometry.views) if views is None else torch.tensor(views)
        view = chosen.repeat_interleave(geometry.detectors)
        detector = torch.arange(geometry.detectors).repeat(len(chosen))
        none = torch.empty(0, dtype=torch.int64)
        return Plan(1, geometry.rays(view, detector), none, none, none, none)
    pixels = geometry.size**2
    square = torch.arange(pixels).reshape(geometry.size, geometry.size)
    turn = torch.stack([p.flatten() for p in octet(square)], 1)
    unturn = torch.empty_like(turn)
    for g in range(8):
        unturn[turn[:, g], g] = torch.arange(pixels) * 8 + g
    count, total = len(seeds.views), geometry.views * geometry.detectors
    image = seeds.image_views * geometry.detectors + seeds.image_detectors
    take = torch.full((total,), -1)
    for g in range(8):
        take[image[g]] = torch.arange(count) * 8 + g
    if bool((take < 0).any()):
        raise ValueError(f"the seeds of {geometry} do not generate all of its rays")
    give = torch.full((count * 8,), total)
    give[take] = torch.arange(total)
    return Plan(8, geometry.rays(seeds.views, seeds.detectors), turn.flatten(), unturn, take, give)


def octet(x: Tensor) -> list[Tensor]:
    """``x`` composed with the 8 symmetries of the square; rows increase downwards, y upwards."""
    t = x.transpose(-1, -2)
    # identity, (x, y) -> (y, x), quarter turn (x, y) -> (-y, x), (x, y) -> (-x, y)
    four = [x, t.flip(-1, -2), t.flip(-1), x.flip(-1)]
    return four + [image.flip(-1, -2) for image in four]

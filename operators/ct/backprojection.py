r"""Back-projection pixel by pixel, with the weights of the textbook formula.

Each pixel takes from each view the value where its ray meets the detector, linearly interpolated
between two detectors, times :math:`U^{-2}`: U is the distance from the source, in units of the
source's distance from the axis, along the central ray for a flat detector (Kak and Slaney 1988,
Eq. 3.81) and along the pixel's own ray for a curved one (Eq. 3.107). In a parallel beam it is 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medscore.operators.ct.fan import FanBeam
from medscore.operators.ct.geometry import Geometry
from medscore.operators.ct.rays import centred


def weighted_backprojection(sinogram: Tensor, geometry: Geometry, angles: Tensor) -> Tensor:
    """The weighted sum over the views at each pixel, (..., size, size).

    Args:
        sinogram: filtered views (..., views, detectors); zero beyond the detector.
        geometry: the scan.
        angles: angles of these views in radians, (views,).
    """
    n = geometry.size
    rows = sinogram.reshape(-1, *sinogram.shape[-2:])
    at = centred(n).to(rows) * geometry.spacing
    x, y = at.repeat(n), -at.repeat_interleave(n)
    # the value left of detector 0 and right of the last one is that of the detector itself
    steps = torch.nn.functional.pad(rows.diff(dim=-1), (0, 1))
    image = rows.new_zeros(len(rows), n * n)
    for view, beta in enumerate(angles.tolist()):
        place, weight = _places(geometry, x, y, beta)
        left = place.floor().clamp_(0, geometry.detectors - 1)
        share = place.sub(left).clamp_(min=0)
        weight = weight * ((place >= -0.5) & (place <= geometry.detectors - 0.5))
        left = left.long()
        value = rows[:, view].index_select(1, left)
        value = value + share * steps[:, view].index_select(1, left)
        image = image + weight * value
    return image.reshape(*sinogram.shape[:-2], n, n)


def _places(geometry: Geometry, x: Tensor, y: Tensor, beta: float) -> tuple[Tensor, Tensor | float]:
    """Where the rays of points meet the detector, in detectors from the first, and weights."""
    cos, sin = math.cos(beta), math.sin(beta)
    across = (x * cos).add_(y, alpha=sin)
    first = geometry.detector_offset / geometry.detector_spacing - (geometry.detectors - 1) / 2
    if not isinstance(geometry, FanBeam):
        return across.mul_(1 / geometry.detector_spacing).sub_(first), 1.0
    away = (y * cos).sub_(x, alpha=sin).add_(geometry.source_distance)
    scale = geometry.detector_distance / geometry.detector_spacing
    if geometry.detector_shape == "flat":
        inverse = away.reciprocal_()
        place = across.mul_(inverse)
        square = inverse.square_()
    else:
        square = (away.square() + across.square()).reciprocal_()
        place = torch.atan2(across, away)
    return place.mul_(scale).sub_(first), square.mul_(geometry.source_distance**2)

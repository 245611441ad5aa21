r"""Weights of rays that a scan measures twice (Parker 1982, Wang 2002, Noo et al. 2002).

A ray (beta, gamma) of a fan beam is measured again, in the other direction, as
:math:`(\beta + \pi - 2\gamma, -\gamma)`; a parallel ray (theta, s) as :math:`(\theta + \pi, -s)`.
The weights of the two must sum to 1 and be smooth along the detector. With a window c that falls
smoothly to zero at the ends of the arc and, where it is displaced, at the near end of the detector
(Noo et al. 2002, Eq. 29),

.. math:: w(\beta, \gamma) = \frac{c(\beta, \gamma)}
          {c(\beta, \gamma) + c(\beta + \pi - 2\gamma, -\gamma)} .

On a full turn with a detector that covers the image w = 1/2; on the shortest arc that measures
every ray, 180 degrees and the fan angle, its ends are those of Parker's weights.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medscore.operators.ct.fan import FanBeam
from medscore.operators.ct.geometry import Geometry
from medscore.operators.ct.shares import Arcs, turn_arcs
from medscore.operators.grid import OperatorError

RAMP = math.radians(30)
"""Longest angle over which the window rises at the ends of an arc."""

BRIDGED = math.radians(90)
"""Widest gap in a fan beam's turn that may be bridged by its neighbours."""

SHORT = 0.9
"""Share of the image's inscribed circle that the near side of a displaced detector must cover where
no opposite views complete it."""


def redundancy(geometry: Geometry, angles: Tensor, arcs: Arcs) -> Tensor | None:
    """The weights (views, detectors); ``None`` if all are 1/2.

    Args:
        geometry: the scan.
        angles: angles of the views in radians, (views,).
        arcs: the arcs that they cover.
    """
    near, far = sides(geometry)
    displaced = far - near > 1e-6 and near < _corner(geometry) - 1e-9 and not arcs.ends
    if not arcs.ends and not displaced:
        return None
    s = geometry.offsets
    gamma = geometry.fan_angles if isinstance(geometry, FanBeam) else torch.zeros_like(s)
    opposite = angles[:, None] + math.pi - 2 * gamma
    own, other = _window(angles, arcs)[:, None].expand_as(opposite), _window(opposite, arcs)
    if displaced:
        own, other = own * _detector(geometry, s), other * _detector(geometry, -s)
    return own / (own + other).clamp_min(1e-30)


def arcs_of(geometry: FanBeam, angles: Tensor, *, partial: bool = False) -> Arcs:
    """The arcs of a fan beam's views, from which filtered back-projection is possible.

    Wide gaps count as part of the turn if they leave out rays of several directions, none of them
    wider than :data:`BRIDGED`: then no arc is complete, but the views surround the image.

    Args:
        geometry: the scan.
        angles: angles of the views in radians, (views,).
        partial: whether an arc may be too short.

    Raises:
        OperatorError: the arc is too short: rays through the circle that is inscribed in the image
            (or the one that the detector covers) are missing.
    """
    arcs = turn_arcs(angles)
    if not arcs.ends or partial or _complete(geometry, arcs):
        return arcs
    if len(arcs.ends) > 1 and max(_gaps(arcs)) <= BRIDGED:
        return turn_arcs(angles, bridged=True)
    arc = math.degrees(sum(length for _, length in arcs.ends))
    fan = math.degrees(2 * _fan(geometry))
    raise OperatorError(
        f"the views cover {arc:.4g} degrees, and filtered back-projection of this fan beam needs "
        f"an arc of {180 + fan:.4g} degrees, half a turn and the fan angle of the image",
        hint="use fista-tv or a prior",
    )


def check_detector(geometry: Geometry, *, whole_turn: bool) -> None:
    """Refuse a displaced detector that leaves out rays which no opposite view measures.

    Args:
        geometry: the scan.
        whole_turn: whether the views cover a full turn.

    Raises:
        OperatorError: its near side covers too little of the image.
    """
    near, far = sides(geometry)
    if not whole_turn and near < SHORT * min(far, geometry.size * geometry.spacing / 2):
        raise OperatorError(
            f"`detector_offset` is {geometry.detector_offset:g} mm: one side of the detector shows "
            f"only {near:.4g} mm, and filtered back-projection then needs a full turn of views",
            hint="use fista-tv or a prior",
        )


def sides(geometry: Geometry) -> tuple[float, float]:
    """Radii in mm of the circles that the shorter and the longer side of the detector cover.

    Args:
        geometry: the scan.
    """
    if isinstance(geometry, FanBeam):
        ends = [geometry.source_distance * math.sin(abs(gamma)) for gamma in geometry.reach]
    else:
        half = geometry.detectors * geometry.detector_spacing / 2
        ends = [half - geometry.detector_offset, half + geometry.detector_offset]
    return min(ends), max(ends)


def _corner(geometry: Geometry) -> float:
    return geometry.size * geometry.spacing / math.sqrt(2)


def _window(beta: Tensor, arcs: Arcs) -> Tensor:
    """The window at angles ``beta`` of any shape: 1 within the arcs, 0 outside them."""
    if not arcs.ends:
        return torch.ones_like(beta)
    total = torch.zeros_like(beta)
    for start, length in arcs.ends:
        rise = min(RAMP, length / 2)
        along = (beta - start).remainder(2 * math.pi)
        depth = torch.minimum(along, length - along).clamp(0, rise)
        total += (math.pi / 2 * depth / rise).sin() ** 2
    return total


def _fan(geometry: FanBeam) -> float:
    """Half the fan angle of the circle that must be complete."""
    radius = min(sides(geometry)[0], geometry.size * geometry.spacing / 2)
    return math.asin(min(1.0, radius / geometry.source_distance))


def _complete(geometry: FanBeam, arcs: Arcs) -> bool:
    """True if every ray of that circle is measured in one direction or the other."""
    gamma = torch.linspace(-1, 1, 65, dtype=torch.float64) * _fan(geometry)
    beta = torch.arange(720, dtype=torch.float64)[:, None] * (math.pi / 360)
    seen = _inside(beta.expand(-1, 65), arcs) | _inside(beta + math.pi - 2 * gamma, arcs)
    return bool(seen.all())


def _inside(beta: Tensor, arcs: Arcs) -> Tensor:
    """True where an angle lies within an arc, up to the rounding of the arcs."""
    slack = 1e-3
    return torch.stack(
        [(beta - start + slack).remainder(2 * math.pi) <= n + 2 * slack for start, n in arcs.ends]
    ).any(0)


def _gaps(arcs: Arcs) -> list[float]:
    """The angles between the arcs."""
    following = [*arcs.ends[1:], (arcs.ends[0][0] + 2 * math.pi, 0.0)]
    return [b - a - n for (a, n), (b, _) in zip(arcs.ends, following, strict=True)]


def _detector(geometry: Geometry, s: Tensor) -> Tensor:
    """The window along the detector: it falls to 0 at the near end, within the overlap."""
    half = geometry.detectors * geometry.detector_spacing / 2
    away = math.copysign(1.0, geometry.detector_offset)
    overlap = half - abs(geometry.detector_offset)
    rise = min(2 * overlap, 0.2 * half)
    depth = (s * away + overlap).clamp(0, rise) / rise
    inside = s * away <= half + abs(geometry.detector_offset) + 1e-9
    return (math.pi / 2 * depth).sin() ** 2 * inside

r"""The helical orbit: a circle whose source and detector advance along the z axis.

At angle beta the pose of :func:`~medscore.operators.ct.cone.orbit.circular_orbit` is shifted by
:math:`h = \mathrm{advance} \cdot \beta / 2 \pi` along z, with the middle of the scan at z = 0. The
pitch of a clinical scan is the advance over the height of the detector, seen at the axis.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch

from medscore.operators.ct.cone.geometry import ConeGeometry, VoxelGrid
from medscore.operators.ct.cone.orbit import circular_orbit
from medscore.operators.grid import OperatorError


def helical_orbit(
    grid: VoxelGrid,
    *,
    turns: float,
    views_per_turn: int,
    advance: float,
    start: float = 0.0,
    **detector: Any,
) -> ConeGeometry:
    """A cone-beam scan on a helix about the z axis.

    Args:
        grid: the volume.
        turns: number of turns, which may be a fraction.
        views_per_turn: number of views of a turn.
        advance: distance along z in mm by which source and detector move in a turn; negative for
            a scan towards negative z.
        start: angle beta of the first view in radians.
        detector: distances, rows, columns, pitch, offset and shape, as of
            :func:`~medscore.operators.ct.cone.orbit.circular_orbit`.

    Raises:
        OperatorError: a number is out of range, or as
            :func:`~medscore.operators.ct.cone.orbit.circular_orbit`.
    """
    if not 0 < turns < math.inf:
        raise OperatorError(f"`turns` is {turns}, expected a positive number")
    if views_per_turn < 1:
        raise OperatorError(f"`views_per_turn` is {views_per_turn}, expected 1 or more")
    if not math.isfinite(advance):
        raise OperatorError(f"`advance` is {advance} mm, expected a finite number")
    count = max(1, round(turns * views_per_turn))
    turned = torch.arange(count, dtype=torch.float64) / views_per_turn
    beta = (start + 2 * math.pi * turned).remainder(2 * math.pi)
    circle = circular_orbit(grid, beta, **detector)
    height = torch.zeros(count, 3, dtype=torch.float64)
    height[:, 2] = advance * (turned - turned.mean())
    return replace(circle, source=circle.source + height, detector=circle.detector + height)

r"""The circular orbit about the z axis, as a list of poses.

At angle beta the source is at :math:`R(\sin\beta, -\cos\beta, 0)` and the detector opposite to it,
D from the source, with columns along :math:`(\cos\beta, \sin\beta, 0)` and rows along z. These are
the angles of :class:`~medscore.operators.ct.fan.FanBeam` and RTK's gantry angle
(:data:`~medscore.operators.ct.cone.matrices.RTK_WORLD`); TIGRE's angle is beta - 90 degrees.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medscore.operators.ct.cone.geometry import ConeGeometry, VoxelGrid
from medscore.operators.grid import OperatorError

SAME = 1e-6
"""Relative deviation from a circle that counts as rounding."""


@dataclass(frozen=True)
class Orbit:
    """A circular orbit about the z axis.

    Attributes:
        angles: angles beta of the views in radians, in [0, 2 pi), (views,) float64.
        source_distance: distance R from the source to the axis in mm.
        detector_distance: distance D from the source to the detector in mm.
        pitch: distance (v, u) of the rows and of the columns in mm.
        offset: position (v, u) in mm of the detector's middle beside the central ray; along the arc
            of a curved detector.
    """

    angles: Tensor
    source_distance: float
    detector_distance: float
    pitch: tuple[float, float]
    offset: tuple[float, float]


def circular_orbit(
    grid: VoxelGrid,
    angles: Sequence[float] | Tensor,
    *,
    source_distance: float,
    detector_distance: float,
    rows: int,
    columns: int,
    pitch: tuple[float, float],
    offset: tuple[float, float] = (0.0, 0.0),
    detector_shape: str = "flat",
) -> ConeGeometry:
    """A cone-beam scan on a circle about the z axis.

    Args:
        grid: the volume.
        angles: angles beta of the views in radians, in any order.
        source_distance: distance from the source to the axis in mm.
        detector_distance: distance from the source to the detector in mm.
        rows: number of detector rows.
        columns: number of detector columns.
        pitch: distance (v, u) of the rows and of the columns in mm; along the arc of a curved
            detector.
        offset: position (v, u) in mm of the detector's middle, where (0, 0) is the ray through the
            origin at a right angle to the axis; a half-fan scan displaces u, along the arc of a
            curved detector.
        detector_shape: ``flat``, or ``curved`` with the source on its axis.

    Raises:
        OperatorError: a number is out of range, or see
            :class:`~medscore.operators.ct.cone.geometry.ConeGeometry`.
    """
    beta = torch.as_tensor(angles, dtype=torch.float64)
    if beta.ndim != 1 or not len(beta) or not bool(beta.isfinite().all()):
        raise OperatorError("`angles` must be a list of finite numbers, at least one")
    if float(beta.abs().max()) > 4 * math.pi + 1e-9:
        raise OperatorError(
            f"`angles` reach {float(beta.abs().max()):g}: they look like degrees",
            hint="convert them with math.radians",
        )
    for name, value in (
        ("source_distance", source_distance),
        ("detector_distance", detector_distance),
        *((f"pitch[{k}]", value) for k, value in enumerate(pitch)),
    ):
        if not 0 < value < math.inf:
            raise OperatorError(f"`{name}` is {value} mm, expected a positive number")
    across = torch.stack([beta.cos(), beta.sin(), torch.zeros_like(beta)], 1)
    ahead = torch.stack([-beta.sin(), beta.cos(), torch.zeros_like(beta)], 1)
    up = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand_as(across)
    source = -source_distance * ahead
    if detector_shape == "curved":
        turn = offset[1] / detector_distance
        ahead, across = (
            math.cos(turn) * ahead + math.sin(turn) * across,
            math.cos(turn) * across - math.sin(turn) * ahead,
        )
        middle = source + detector_distance * ahead
    else:
        middle = source + detector_distance * ahead + offset[1] * across
    return ConeGeometry(
        grid,
        source,
        middle + offset[0] * up,
        pitch[1] * across,
        pitch[0] * up,
        rows,
        columns,
        detector_shape,
    )


def orbit_of(geometry: ConeGeometry) -> Orbit:
    """The circular orbit that a list of poses follows.

    Args:
        geometry: the scan.

    Raises:
        OperatorError: the poses are not those of :func:`circular_orbit`.
    """
    source, u, v = geometry.source, geometry.u, geometry.v
    radius = source[:, :2].norm(dim=1)
    beta = torch.atan2(source[:, 0], -source[:, 1]).remainder(2 * math.pi)
    across = torch.stack([beta.cos(), beta.sin(), torch.zeros_like(beta)], 1)
    ahead = torch.stack([-beta.sin(), beta.cos(), torch.zeros_like(beta)], 1)
    seen = geometry.detector - source
    along, aside = (seen * ahead).sum(1), (seen * across).sum(1)
    distance, offset = float(along[0]), float(aside[0])
    if geometry.detector_shape == "curved":
        turn = math.atan2(offset, distance)
        distance = math.hypot(distance, offset)
        offset = turn * distance
    pitch = float(v[0].norm()), float(u[0].norm())
    found = Orbit(beta, float(radius.mean()), distance, pitch, (float(seen[0, 2]), offset))
    try:
        again = circular_orbit(
            geometry.grid,
            beta,
            source_distance=found.source_distance,
            detector_distance=distance,
            rows=geometry.rows,
            columns=geometry.columns,
            pitch=pitch,
            offset=found.offset,
            detector_shape=geometry.detector_shape,
        )
        gap = max(
            float((getattr(again, name) - getattr(geometry, name)).abs().max())
            / float(getattr(geometry, name).norm(dim=1).max())
            for name in ("source", "detector", "u", "v")
        )
    except OperatorError:
        gap = math.inf
    if gap > SAME:
        raise OperatorError(
            "the poses are not on a circle about the z axis with an upright detector, as the "
            "algorithm of Feldkamp needs it",
            hint="use an iterative method, or rotate the world axes",
        )
    return found

"""Ellipsoid phantoms: every slice consists of ellipses, so its Radon and Fourier transforms are
exact (:mod:`medscore.operators.ct.phantoms`), and so are line integrals through the volume.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medscore.operators.ct.phantoms import SHEPP_LOGAN, Ellipse


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid, rotated about the z axis only.

    Attributes:
        ellipse: its central slice.
        z: position of the centre along the z axis in mm.
        c: semi-axis along the z axis in mm.
    """

    ellipse: Ellipse
    z: float
    c: float

    def at(self, z: float) -> Ellipse | None:
        """The slice at ``z`` mm, or ``None`` if the ellipsoid does not reach it."""
        left = 1 - ((z - self.z) / self.c) ** 2
        if left <= 0:
            return None
        e, shrink = self.ellipse, math.sqrt(left)
        return Ellipse(e.value, e.x, e.y, e.a * shrink, e.b * shrink, e.angle)


_HEIGHTS = (
    (0.0, 0.81), (0.0, 0.78), (0.0, 0.22), (0.0, 0.28), (-0.15, 0.41), (0.25, 0.05), (0.25, 0.05),
    (0.0, 0.05), (0.0, 0.02), (0.0, 0.02),
)  # fmt: skip

SHEPP_LOGAN_3D = tuple(
    Ellipsoid(ellipse, z, c) for ellipse, (z, c) in zip(SHEPP_LOGAN, _HEIGHTS, strict=True)
)
"""The Shepp-Logan phantom as a volume, half side 1 mm (positions and semi-axes along z as in
phantom3d of Schabel 2006)."""


def cut(ellipsoids: Sequence[Ellipsoid], z: float, *, factor: float = 1.0) -> tuple[Ellipse, ...]:
    """One slice of a phantom.

    Args:
        ellipsoids: the phantom.
        z: position of the slice in mm, after scaling.
        factor: multiplies all lengths of the phantom.
    """
    found = (solid.at(z / factor) for solid in ellipsoids)
    return tuple(
        Ellipse(e.value, e.x * factor, e.y * factor, e.a * factor, e.b * factor, e.angle)
        for e in found
        if e is not None
    )


def line_integrals(ellipsoids: Sequence[Ellipsoid], start: Tensor, towards: Tensor) -> Tensor:
    r"""Exact integrals along half lines, (...) float64.

    In coordinates where an ellipsoid is the unit ball the half line is p + l d, l > 0, and it is
    inside between the roots of :math:`|d|^2 l^2 + 2 (p \cdot d) l + |p|^2 - 1`.

    Args:
        ellipsoids: the phantom, with lengths in mm.
        start: a point of each line in mm, (..., 3) along x, y and z.
        towards: their directions, of any length, (..., 3).
    """
    unit = towards.double() / towards.double().norm(dim=-1, keepdim=True)
    total = torch.zeros(torch.broadcast_shapes(start.shape, unit.shape)[:-1], dtype=torch.float64)
    for solid in ellipsoids:
        e = solid.ellipse
        cos, sin = math.cos(e.angle), math.sin(e.angle)
        turn = torch.tensor([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], dtype=torch.float64)
        axes = turn / torch.tensor([e.a, e.b, solid.c], dtype=torch.float64)
        p = (start.double() - torch.tensor([e.x, e.y, solid.z], dtype=torch.float64)) @ axes
        d = unit @ axes
        square, half, rest = (d * d).sum(-1), (p * d).sum(-1), (p * p).sum(-1) - 1
        root = (half**2 - square * rest).clamp_min(0).sqrt()
        near, far = ((-half + sign * root) / square for sign in (-1, 1))
        total += e.value * (far.clamp_min(0) - near.clamp_min(0))
    return total

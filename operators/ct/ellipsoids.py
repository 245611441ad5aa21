"""Ellipsoid phantoms: every slice consists of ellipses, so its Radon and Fourier transforms are
exact (:mod:`medscore.operators.ct.phantoms`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

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

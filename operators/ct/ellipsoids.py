"""Ellipsoid phantoms: every slice is a phantom of ellipses, so its Radon and Fourier transforms are
exact too (:mod:`medscore.operators.ct.phantoms`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from medscore.operators.ct.phantoms import SHEPP_LOGAN, Ellipse


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipse of :mod:`medscore.operators.ct.phantoms` with a place ``z`` and a half axis ``c``
    along it, in mm; it is turned about that axis alone.
    """

    ellipse: Ellipse
    z: float
    c: float

    def at(self, z: float) -> Ellipse | None:
        """Its slice, if there is one."""
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
"""The head phantom as a volume, half side 1 mm (places and half axes along z as in phantom3d of
Schabel 2006)."""


def cut(ellipsoids: Sequence[Ellipsoid], z: float, *, factor: float = 1.0) -> tuple[Ellipse, ...]:
    """The slice at ``z`` mm of the phantom with every length multiplied by ``factor``."""
    found = (solid.at(z / factor) for solid in ellipsoids)
    return tuple(
        Ellipse(e.value, e.x * factor, e.y * factor, e.a * factor, e.b * factor, e.angle)
        for e in found
        if e is not None
    )

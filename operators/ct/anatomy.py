"""Random chest phantoms made of ellipses, for tests and examples without patient data.

Their Radon and Fourier transforms are exact (:mod:`medscore.operators.ct.phantoms`).
"""

from __future__ import annotations

import math

import torch

from medscore.hounsfield import MU_WATER
from medscore.operators.ct.phantoms import Ellipse


def random_chest(generator: torch.Generator, *, width: float = 350.0) -> tuple[Ellipse, ...]:
    """A centred axial slice in 1/mm: fat, muscle, lungs with vessels, heart, spine and ribs.

    The value of each ellipse is added to those it overlaps.

    Args:
        generator: a CPU generator, from which the anatomy is drawn.
        width: approximate width of the chest in mm.
    """

    def draw(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    def part(hu: float, x: float, y: float, a: float, b: float, angle: float = 0.0) -> Ellipse:
        """An ellipse ``hu`` above its surroundings; lengths in units of half the width."""
        half = width / 2
        return Ellipse(MU_WATER * hu / 1000, x * half, y * half, a * half, b * half, angle)

    depth = draw(0.6, 0.75)
    rim = draw(0.03, 0.1)
    found = [
        part(900.0, 0.0, 0.0, draw(0.92, 1.0), depth),  # fat, relative to air
        part(draw(120.0, 160.0), 0.0, 0.0, 0.9 - rim, depth - rim),  # muscle
    ]
    for side in (-1, 1):
        x, a, b = side * draw(0.4, 0.46), draw(0.26, 0.32), draw(0.36, 0.44)
        found.append(part(-draw(780.0, 880.0), x, 0.05, a, b, side * draw(0.0, 0.2)))
        for _ in range(int(draw(4.0, 12.0))):
            angle, r, size = draw(0.0, 2 * math.pi), draw(0.1, 0.75), draw(0.006, 0.03)
            place = (x + a * r * math.cos(angle), 0.05 + b * r * math.sin(angle))
            found.append(part(draw(600.0, 850.0), *place, size, size * draw(0.6, 1.6), angle))
    spine, heart = draw(0.09, 0.12), draw(0.16, 0.22)
    found.append(part(draw(10.0, 60.0), draw(0.02, 0.12), 0.15, heart, heart * draw(0.8, 1.1)))
    found.append(part(draw(250.0, 500.0), 0.0, -depth + 0.26, spine, spine * draw(0.8, 1.0)))
    for k in range(int(draw(8.0, 14.0))):
        angle = 2 * math.pi * k / 14 + draw(-0.1, 0.1)
        x, y = 0.8 * math.cos(angle), (depth - 0.1) * math.sin(angle)
        tilt = math.atan2(y, x) + math.pi / 2
        found.append(part(draw(400.0, 900.0), x, y, draw(0.03, 0.06), 0.015, tilt))
    return tuple(found)

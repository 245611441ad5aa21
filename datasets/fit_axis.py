r"""One axis of a fit: area means towards larger pixels, splines towards smaller ones.

Towards larger pixels, D takes means over the area of the new pixels, and U is the cubic spline with
these means, :math:`U = S (D S)^{-1}` with the interpolating spline S, so that D U = I (consistent
sampling, Unser and Aldroubi 1994, Eq. 10). Towards smaller pixels the two change places. Where the
pixels are equal, both only pad and crop, in whole pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

EQUAL = 1e-9
"""Relative difference below which two pixel spacings are equal."""

SINGULAR = 0.1
"""Singular values of D S below this share of the largest are not inverted."""


@dataclass(frozen=True)
class Axis:
    """The map along one axis: n pixels of the source, m of the new grid.

    Attributes:
        down: D, (m, n) float64.
        up: U, (n, m) float64; zero for pixels outside the field.
        inside: pixels of the source whose centre lies in the field of the new grid, (n,) bool.
        start: position of the first new pixel's centre, in pixels of the source.
        step: new pixel spacing over the old one.
    """

    down: NDArray[np.float64]
    up: NDArray[np.float64]
    inside: NDArray[np.bool_]
    start: float
    step: float

    @property
    def lossless(self) -> bool:
        """True if ``up`` undoes ``down``: all pixels lie in the field, and none grow."""
        return bool(self.inside.all()) and self.step <= 1

    @property
    def shift(self) -> int | None:
        """Position of the first source pixel on the new grid; ``None`` if pixels are resampled."""
        return -round(self.start) if self.step == 1 else None


def axis(n: int, old: float, m: int, new: float) -> Axis:
    """The map along one axis.

    Args:
        n: number of pixels of the source.
        old: their spacing in mm.
        m: number of pixels of the new grid.
        new: their spacing in mm.
    """
    step = new / old
    if abs(step - 1) <= EQUAL:
        shift = (m - n) // 2
        down = np.eye(m, n, -shift)
        seen = np.array(down.any(axis=0), dtype=np.bool_)
        return Axis(down, down.T.copy(), seen, -float(shift), 1.0)
    start = (n - m * step) / 2 + (step - 1) / 2
    centres = np.arange(n) + 0.5 - n / 2
    inside: NDArray[np.bool_] = np.array(np.abs(centres) <= m * step / 2 + 1e-9, dtype=np.bool_)
    if step > 1:
        down, up = _pair(n, m, step, 0)
    else:
        beyond = math.ceil(max(0.0, (m * step - n) / 2))
        up, down = _pair(m, n, 1 / step, beyond)
    return Axis(down, np.where(inside[:, None], up, 0.0), inside, start, step)


def _pair(
    fine: int, coarse: int, ratio: float, more: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Area means (coarse, fine) and the splines with these means (fine, coarse).

    Args:
        fine: number of small pixels.
        coarse: number of large pixels.
        ratio: large over small spacing.
        more: number of large pixels that are added at each end, so that they cover the small ones.
    """
    count = coarse + 2 * more
    first = (fine - count * ratio) / 2  # edge of the first large pixel, in small ones
    low = math.floor(min(0.0, first) + 1e-9)
    pixels = np.arange(low, math.ceil(max(fine, first + count * ratio) - 1e-9))
    edges = first + np.arange(count + 1) * ratio
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    means = np.clip(overlap, 0, None) / ratio
    at = np.clip((pixels + 0.5 - first) / ratio - 0.5, 0, count - 1)
    degree = min(3, count - 1)
    spline = make_interp_spline(np.arange(count), np.eye(count), degree)(at) if degree else 1.0
    spline = np.broadcast_to(spline, (len(pixels), count))
    spline = spline @ np.linalg.pinv(means @ spline, rcond=SINGULAR)
    own, kept = slice(-low, fine - low), slice(more, more + coarse)
    return means[kept, own], spline[own, kept]

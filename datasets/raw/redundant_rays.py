r"""The directions in which a detector's columns and rows are counted, found from the data.

Every ray in the plane of the source is measured from both of its ends. With the source at
:math:`\rho (-\sin\varphi, \cos\varphi)` and the angle gamma from the ray through the axis, counted
along :math:`a = s (\cos\varphi, \sin\varphi)`, the two are

.. math:: (\varphi, \gamma) \quad\text{and}\quad (\varphi + s\,2 \gamma + \pi, -\gamma).

With the wrong sign s of the columns, the two are different rays. In a helical scan, source and
detector have moved by about half a turn between the two, so that they are rows of the detector at
different heights; with the wrong sign of the rows they meet the axis at different places. The signs
for which the readings of such pairs agree best are those of the scan. Readers of DICOM-CT-PD
disagree on them, so they are not taken from a specification.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PAIRS, SEED = 20_000, 3
"""Number of pairs of rays that are compared, and the seed of their choice."""

LEAST = 200
"""Smallest number of pairs inside the detector from which signs are found."""

CLEAR = 0.9
"""Largest mismatch of the best sign, relative to that of the other, for which it is believed."""


@dataclass(frozen=True)
class Views:
    """Readings of a detector on a cylinder about the source, of all views in their order.

    Attributes:
        data: (views, rows, columns).
        angle: angle phi of the source in radians, without jumps, (views,).
        height: position of the source along the axis in mm, (views,).
        centre: column and row on the ray through the axis, counted from 0, (views, 2).
        step: angle between two columns, seen from the source.
        row_mm: distance of two rows, seen at the axis, in mm.
        closed: whether the views are a full turn, so that the first follows the last.
    """

    data: NDArray[np.float32]
    angle: Array
    height: Array
    centre: Array
    step: float
    row_mm: float
    closed: bool = False


def signs(views: Views, default: tuple[int, int] = (1, 1)) -> tuple[int, int]:
    """The signs s of the columns, and of the rows along z.

    Args:
        views: the readings.
        default: signs where the data do not tell, such as an object that is its own mirror image.
    """
    each = {(c, r): _mismatch(views, c, r) for c in (1, -1) for r in (1, -1)}
    of_columns = {sign: min(each[sign, 1], each[sign, -1]) for sign in (1, -1)}
    columns = _better(of_columns, default[0])
    return columns, _better({sign: each[columns, sign] for sign in (1, -1)}, default[1])


def _better(mismatch: dict[int, float], default: int) -> int:
    """The sign of the smaller mismatch, if it is clearly smaller."""
    best = min(mismatch, key=lambda sign: mismatch[sign])
    return best if mismatch[best] < CLEAR * mismatch[-best] < math.inf else default


def _mismatch(views: Views, columns: int, rows: int) -> float:
    """The mean difference of the two readings of a ray; infinite where too few are measured."""
    count, height, width = views.data.shape
    random = np.random.default_rng(SEED)
    view, row, column = (random.integers(n, size=PAIRS) for n in (count, height, width))
    beside = column - views.centre[view, 0]
    opposite = views.angle[view] + columns * 2 * views.step * beside + math.pi
    place = _nearest(views, opposite, views.angle[view])
    row_mm = views.row_mm * np.cos(views.step * beside)
    z = views.height[view] + rows * (row - views.centre[view, 1]) * row_mm
    known = np.isfinite(place)
    place = np.where(known, place, 0.0)
    index = np.arange(count)
    there = np.interp(place, index, views.height)
    centre = [np.interp(place, index, views.centre[:, axis]) for axis in (0, 1)]
    other_row = centre[1] + rows * (z - there) / row_mm
    other_column = centre[0] - beside
    inside = known & (other_row >= 0) & (other_row <= height - 1)
    inside &= (other_column >= 0) & (other_column <= width - 1)
    if inside.sum() < LEAST:
        return math.inf
    first = views.data[view, row, column][inside]
    second = _between(views, place[inside], other_row[inside], other_column[inside])
    return float(np.abs(first - second).mean())


def _nearest(views: Views, angle: Array, near: Array) -> Array:
    """Places in the list of views with an angle, but for whole turns; NaN where there is none."""
    order, turn = np.argsort(views.angle), 2 * math.pi
    known = views.angle[order]
    if views.closed:
        there: Array = np.interp(known[0] + (angle - known[0]) % turn, known, order)
        return there
    nearest, place = angle - turn * np.round((angle - near) / turn), np.full(len(angle), np.nan)
    for moved in (0, turn, -turn):
        trial = nearest + moved
        inside = (trial >= known[0]) & (trial <= known[-1]) & np.isnan(place)
        place[inside] = np.interp(trial[inside], known, order)
    return place


def _between(views: Views, view: Array, row: Array, column: Array) -> NDArray[np.float32]:
    """Readings between views, rows and columns, linear in each."""
    total = np.zeros(len(view))
    places, shape = (view, row, column), views.data.shape
    low = [
        np.clip(np.floor(place).astype(int), 0, max(0, n - 2))
        for place, n in zip(places, shape, strict=True)
    ]
    for corner in np.ndindex(2, 2, 2):
        weight, index = np.ones(len(view)), []
        for place, first, up, n in zip(places, low, corner, shape, strict=True):
            share = np.clip(place - first, 0, 1)
            weight = weight * (share if up else 1 - share)
            index.append(np.minimum(first + up, n - 1))
        total += weight * views.data[tuple(index)]
    return total.astype(np.float32)

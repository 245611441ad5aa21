"""Lists of angles: which are degrees, and which look like radians."""

from __future__ import annotations

import math

import numpy as np


def check_angles(angles: tuple[float, ...], unit: str | None) -> None:
    """Reject lists that are no angles in their unit.

    Args:
        angles: the list of a geometry file.
        unit: "degrees", "radians", or ``None`` if it is not stated, which means degrees.

    Raises:
        ValueError: it is empty, not finite, reaches beyond 100 turns, or looks like the other unit:
            eight views or more, not stated to be in degrees, that span between 0.5 and 2 pi, or up
            to four turns of 2 pi each; or, stated to be in radians, that span more than four turns.
    """
    most = 36_000 if unit != "radians" else 200 * math.pi
    if not angles or not all(abs(a) <= most for a in angles):
        raise ValueError(f"angles must be a list of {unit or 'degrees'}, at least one")
    low, high = min(angles), max(angles)
    span, views = high - low, len(angles)
    if unit == "radians" and span > 8.01 * math.pi:
        raise ValueError(
            f"angles run from {low:g} to {high:g} radians, more than four turns: they look like "
            "degrees, set angle_unit to degrees"
        )
    if unit is not None:
        return
    halves = np.array([span, span * views / max(views - 1, 1)]) / math.pi
    turns = np.abs(halves - np.rint(halves)).min() < 5e-4 and span <= 8.01 * math.pi
    if views >= 8 and span >= 0.5 and (span <= 6.3 or turns):
        raise ValueError(
            f"angles run from {low:g} to {high:g} degrees: they look like radians, set angle_unit "
            "to radians, or to degrees if that is right"
        )

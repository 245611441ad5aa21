"""Checks of scan geometries, and the defaults of their detectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol, runtime_checkable


@runtime_checkable
class Scan(Protocol):
    """What the scan geometries have in common."""

    @property
    def size(self) -> int:
        """Number of pixels per side."""

    @property
    def spacing(self) -> float:
        """Pixel spacing in mm."""

    @property
    def views(self) -> int:
        """Number of views."""

    @property
    def detectors(self) -> int:
        """Number of detectors."""

    @property
    def detector_spacing(self) -> float:
        """Spacing of the detectors in mm."""

    @property
    def detector_offset(self) -> float:
        """Position of the detector's middle in mm."""


def check_angles(angles: Sequence[float], *, span: float) -> None:
    """Reject angles that are not an ordered list of views in radians.

    Equal neighbours are allowed: the same view, measured again.

    Args:
        angles: the angles.
        span: difference in radians at which views repeat.

    Raises:
        ValueError: the angles are none, not finite, decreasing, or span ``span`` or more.
    """
    if not angles or not all(math.isfinite(a) for a in angles):
        raise ValueError("the angles must be finite numbers, at least one")
    low, high = min(angles), max(angles)
    if max(-low, high) > 2 * math.pi + 1e-9:
        advice = "they look like degrees - convert them with math.radians"
        if high - low < 2 * math.pi and max(-low, high) < 4 * math.pi:
            advice = "subtract full turns, 2 pi"
        raise ValueError(f"the angles run from {low:g} to {high:g}: {advice}")
    for index, (a, b) in enumerate(pairwise(angles)):
        if b < a:
            raise ValueError(
                f"the angles must not decrease, but number {index + 1} is {b:g} after {a:g}: sort "
                "them, and the views with them"
            )
    if angles[-1] - angles[0] >= span:
        raise ValueError(
            f"the angles span {angles[-1] - angles[0]:g} radians, expected less than {span:g}: "
            "beyond that the views repeat"
        )


def check_numbers(g: Scan) -> None:
    """Reject numbers that no scan has.

    Args:
        g: the scan, before :func:`complete`.

    Raises:
        ValueError: a number is missing or out of range.
    """
    if g.spacing is None:
        raise ValueError("the pixel spacing is missing: give `spacing` in mm")
    least = {"size": (g.size, 2), "views": (g.views, 1), "detectors": (g.detectors, 0)}
    for name, (value, low) in least.items():
        if value != int(value) or value < low:
            raise ValueError(f"`{name}` is {value}, expected an integer of at least {low}")
    if not 0 < g.spacing < math.inf:
        raise ValueError(f"`spacing` is {g.spacing} mm, expected a positive number")
    if not 0 <= g.detector_spacing < math.inf:
        raise ValueError(
            f"`detector_spacing` is {g.detector_spacing} mm, expected a positive number"
        )
    if not math.isfinite(g.detector_offset):
        raise ValueError(f"`detector_offset` is {g.detector_offset} mm, expected a finite number")


def complete(g: Scan, *, spacing: float, half_width: float) -> None:
    """Set the defaults of the detector, which then covers the image on both sides of the axis.

    Args:
        g: the scan.
        spacing: default distance of the detectors in mm.
        half_width: distance in mm from the axis to the end that covers the image.

    Raises:
        ValueError: the axis of rotation lies beside the detector.
    """
    if not g.detector_spacing:
        object.__setattr__(g, "detector_spacing", spacing)
    reach = half_width + abs(g.detector_offset)
    if not g.detectors:
        object.__setattr__(g, "detectors", 2 * math.ceil(reach / g.detector_spacing - 1e-9))
    half = g.detectors * g.detector_spacing / 2
    if abs(g.detector_offset) >= half:
        raise ValueError(
            f"`detector_offset` is {g.detector_offset:g} mm: the axis of rotation is projected "
            f"beside the detector, which reaches {half:g} mm to each side of its middle"
        )

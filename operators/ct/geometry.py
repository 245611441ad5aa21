r"""Scan geometries of CT: parallel and fan beams over a square image.

x points to the right, y upwards, and the origin is the centre of the image; lengths are in mm and
angles in radians. The rays of a view at angle theta run along :math:`(-\sin\theta, \cos\theta)`,
and its detector axis is :math:`(\cos\theta, \sin\theta)`: a parallel ray of offset s is
:math:`(s\cos\theta - l\sin\theta,\ s\sin\theta + l\cos\theta)`. In a fan beam the source is at
:math:`R(\sin\beta, -\cos\beta)`, and the central ray of a view has the same direction as there.

Symmetry saves seven eighths of the work: where a grid of views is invariant under the symmetries of
the square, ``seeds`` returns the views and detectors that generate all others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from medscore.operators.ct.rays import Rays, Seeds, centred, pairs, parallel_rays


@dataclass(frozen=True)
class ParallelBeam:
    """Views k pi / V, equally spaced over 180 degrees.

    Attributes:
        size: number of pixels per side.
        spacing: pixel spacing in mm.
        views: number of views V.
        detectors: number of detectors; by default even, and enough to cover the image's diagonal.
        detector_spacing: spacing of the detectors in mm; by default that of the pixels.

    Raises:
        ValueError: a number is missing or out of range.
    """

    size: int
    spacing: float
    views: int
    detectors: int = 0
    detector_spacing: float = 0.0

    def __post_init__(self) -> None:
        _check(self)
        _complete_parallel(self)

    @property
    def angles(self) -> Tensor:
        """Angles of the views in radians, (views,) float64."""
        return torch.arange(self.views, dtype=torch.float64) * (math.pi / self.views)

    @property
    def offsets(self) -> Tensor:
        """Detector offsets s in mm, (detectors,) float64."""
        return centred(self.detectors) * self.detector_spacing

    @property
    def field_of_view(self) -> float:
        """Radius in mm of the circle that is visible in every view."""
        return self.detectors * self.detector_spacing / 2

    def rays(self, views: Tensor, detectors: Tensor) -> Rays:
        """The rays of some views and detectors.

        Args:
            views: index of the view of each ray, (rays,).
            detectors: index of the detector of each ray, (rays,).
        """
        return parallel_rays(self.angles[views], self.offsets[detectors])

    def seeds(self) -> Seeds | None:
        """Views up to pi/4 and detectors with s >= 0; ``None`` if the number of views is odd."""
        if self.views % 2:
            return None
        v, d, last = self.views, self.detectors, self.detectors - 1
        view, detector = pairs(range(v // 4 + 1), range(d // 2, d))
        # the identity, (x, y) -> (y, x), a quarter turn, (x, y) -> (-x, y); then with a half turn
        images = torch.stack([view, v // 2 - view, v // 2 + view, v - view])
        flipped = (images == v).repeat(2, 1)  # a view at pi is the view at 0, seen from behind
        sides = torch.stack([detector] * 4 + [last - detector] * 4)
        return Seeds(
            view, detector, images.repeat(2, 1) % v, torch.where(flipped, last - sides, sides)
        )


@dataclass(frozen=True)
class ParallelAngles:
    """Parallel views at arbitrary increasing angles within 180 degrees.

    Attributes:
        size: number of pixels per side.
        spacing: pixel spacing in mm.
        list_of_angles: angles of the views in radians.
        detectors: number of detectors, as in :class:`ParallelBeam`.
        detector_spacing: spacing of the detectors in mm, as in :class:`ParallelBeam`.

    Raises:
        ValueError: the angles do not increase, span 180 degrees or more, or look like degrees.
    """

    size: int
    spacing: float
    list_of_angles: tuple[float, ...]
    detectors: int = 0
    detector_spacing: float = 0.0

    def __post_init__(self) -> None:
        check_angles(self.list_of_angles, span=math.pi)
        _check(self)
        _complete_parallel(self)

    @property
    def views(self) -> int:
        """Number of views."""
        return len(self.list_of_angles)

    @property
    def angles(self) -> Tensor:
        """Angles of the views in radians, (views,) float64."""
        return torch.tensor(self.list_of_angles, dtype=torch.float64)

    @property
    def field_of_view(self) -> float:
        """Radius in mm of the circle that is visible in every view."""
        return self.detectors * self.detector_spacing / 2

    def rays(self, views: Tensor, detectors: Tensor) -> Rays:
        """The rays of some views and detectors.

        Args:
            views: index of the view of each ray, (rays,).
            detectors: index of the detector of each ray, (rays,).
        """
        return parallel_rays(
            self.angles[views], centred(self.detectors)[detectors] * self.detector_spacing
        )

    def seeds(self) -> None:
        """``None``: the views have no symmetry."""


@dataclass(frozen=True)
class FanBeam:
    """A point source on a circle and a detector facing it, with views 2 pi k / V.

    Attributes:
        size: number of pixels per side.
        spacing: pixel spacing in mm.
        views: number of views V over 360 degrees.
        source_distance: distance from the source to the centre of rotation in mm.
        detector_distance: distance from the source to the detector in mm.
        detectors: number of detectors; by default even, and enough to cover the image's diagonal.
        detector_spacing: spacing in mm on the detector (along its arc if it is curved); by default
            the pixel spacing times the magnification.
        detector_shape: ``flat``, or ``curved`` with the source at its centre.

    Raises:
        ValueError: a number is missing or out of range, or the source lies within the image.
    """

    size: int
    spacing: float
    views: int
    source_distance: float
    detector_distance: float
    detectors: int = 0
    detector_spacing: float = 0.0
    detector_shape: str = "flat"

    def __post_init__(self) -> None:
        _check(self)
        radius = self.size * self.spacing / math.sqrt(2)
        if not self.source_distance > radius:
            raise ValueError(
                f"`source_distance` is {self.source_distance} mm, within the image, whose corners "
                f"are {radius:g} mm from the centre"
            )
        if not self.detector_distance > 0:
            raise ValueError(
                f"`detector_distance` is {self.detector_distance} mm, expected a positive number"
            )
        if self.detector_shape not in ("flat", "curved"):
            raise ValueError(
                f"`detector_shape` is {self.detector_shape!r}, expected flat or curved"
            )
        magnification = self.detector_distance / self.source_distance
        fan = math.asin(radius / self.source_distance)
        half = self.detector_distance * (math.tan(fan) if self.detector_shape == "flat" else fan)
        _complete(self, spacing=self.spacing * magnification, half_width=half)

    @property
    def angles(self) -> Tensor:
        """Angles beta of the views in radians, (views,) float64."""
        return torch.arange(self.views, dtype=torch.float64) * (2 * math.pi / self.views)

    @property
    def fan_angles(self) -> Tensor:
        """The angle gamma of each detector from the central ray, (detectors,) float64."""
        u = centred(self.detectors) * self.detector_spacing / self.detector_distance
        return torch.atan(u) if self.detector_shape == "flat" else u

    @property
    def field_of_view(self) -> float:
        """Radius in mm of the circle that is visible in every view."""
        edge = self.detectors * self.detector_spacing / 2 / self.detector_distance
        gamma = math.atan(edge) if self.detector_shape == "flat" else min(edge, math.pi / 2)
        return self.source_distance * math.sin(gamma)

    def rays(self, views: Tensor, detectors: Tensor) -> Rays:
        """The rays of some views and detectors.

        Args:
            views: index of the view of each ray, (rays,).
            detectors: index of the detector of each ray, (rays,).
        """
        beta, gamma = self.angles[views], self.fan_angles[detectors]
        source = self.source_distance * torch.stack([beta.sin(), -beta.cos()], -1)
        # a positive gamma is towards the detector axis (cos, sin): the central ray turns clockwise
        return Rays(source, torch.stack([-(beta - gamma).sin(), (beta - gamma).cos()], -1))

    def seeds(self) -> Seeds | None:
        """Views up to pi/4 and all detectors; ``None`` if 4 does not divide the views."""
        if self.views % 4:
            return None
        v, quarter = self.views, self.views // 4
        view, same = pairs(range(v // 8 + 1), range(self.detectors))
        other = self.detectors - 1 - same
        images = torch.stack([view, 3 * quarter - view, view + quarter, -view])
        turned = torch.cat([images, images + 2 * quarter]) % v
        return Seeds(view, same, turned, torch.stack([same, other, same, other]).repeat(2, 1))


Geometry = ParallelBeam | ParallelAngles | FanBeam
"""The geometries of the projectors. They share ``size``, ``spacing``, ``views``, ``angles``,
``detectors``, ``detector_spacing``, ``field_of_view``, ``rays`` and ``seeds``."""


def check_angles(angles: Sequence[float], *, span: float) -> None:
    """Reject angles that are not an increasing list of views in radians.

    Args:
        angles: the angles.
        span: difference in radians at which views repeat.

    Raises:
        ValueError: the angles are none, not finite, not increasing, or span ``span`` or more.
    """
    if not angles or not all(math.isfinite(a) for a in angles):
        raise ValueError("the angles must be finite numbers, at least one")
    for index, (a, b) in enumerate(pairwise(angles)):
        if not b > a:
            raise ValueError(
                f"the angles must increase, but number {index + 1} is {b:g} after {a:g}"
            )
    if max(abs(angles[0]), abs(angles[-1])) > 2 * math.pi + 1e-9:
        raise ValueError(
            f"the angles run from {angles[0]:g} to {angles[-1]:g}: they look like degrees - "
            "convert them with math.radians"
        )
    if angles[-1] - angles[0] >= span:
        raise ValueError(
            f"the angles span {angles[-1] - angles[0]:g} radians, expected less than {span:g}: "
            "beyond that the views repeat"
        )


def _check(g: Geometry) -> None:
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


def _complete_parallel(g: ParallelBeam | ParallelAngles) -> None:
    _complete(g, spacing=g.spacing, half_width=g.size * g.spacing / math.sqrt(2))


def _complete(g: Geometry, *, spacing: float, half_width: float) -> None:
    """Set the defaults of the detector from its spacing and half width in mm."""
    if not g.detector_spacing:
        object.__setattr__(g, "detector_spacing", spacing)
    if not g.detectors:
        object.__setattr__(g, "detectors", 2 * math.ceil(half_width / g.detector_spacing - 1e-9))

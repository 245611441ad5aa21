r"""Where the rays of a CT scan run: parallel and fan beams over a square image.

x to the right, y upwards, origin at the image's centre; lengths in mm, angles in radians. A view at
angle theta looks along :math:`(-\sin\theta, \cos\theta)`, and its detector axis is
:math:`(\cos\theta, \sin\theta)`: a parallel ray of offset s is
:math:`(s\cos\theta - l\sin\theta,\ s\sin\theta + l\cos\theta)`. In a fan beam the source is at
:math:`R(\sin\beta, -\cos\beta)` and rays spread around the same direction.

Symmetry saves seven eighths of the work: where a grid of views is its own image under the
symmetries of the square, :func:`seeds` names the views and detectors that generate the rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rays:
    """Lines in the plane: a ``point`` (rays, 2) in mm and a unit ``direction`` (rays, 2)."""

    point: Tensor
    direction: Tensor


@dataclass(frozen=True)
class Seeds:
    """Rays that the 8 symmetries of the square turn into all rays of a scan.

    Attributes:
        views, detectors: of each seed (seeds,).
        image_views, image_detectors: where symmetry g takes each of them (8, seeds); see
            :func:`medscore.operators.ct.symmetry.octet` for the order of the symmetries.
    """

    views: Tensor
    detectors: Tensor
    image_views: Tensor
    image_detectors: Tensor


@dataclass(frozen=True)
class ParallelBeam:
    """Views k pi / V, equally spaced over 180 degrees.

    Attributes:
        size: pixels per side. spacing: of the pixels, in mm. views: V.
        detectors: by default even, and enough to cover the image's diagonal.
        detector_spacing: in mm; by default the pixels'.

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
        """The views in radians, (views,) float64."""
        return torch.arange(self.views, dtype=torch.float64) * (math.pi / self.views)

    @property
    def offsets(self) -> Tensor:
        """Detector offsets s in mm, (detectors,) float64."""
        return _centred(self.detectors) * self.detector_spacing

    @property
    def field_of_view(self) -> float:
        """Radius in mm of the circle that every view sees."""
        return self.detectors * self.detector_spacing / 2

    def rays(self, views: Tensor, detectors: Tensor) -> Rays:
        """The rays of those views and detectors, index arrays of one shape (rays,)."""
        return _parallel(self.angles[views], self.offsets[detectors])

    def seeds(self) -> Seeds | None:
        """Views up to pi/4 and detectors with s >= 0; the views must be even in number."""
        if self.views % 2:
            return None
        v, d, last = self.views, self.detectors, self.detectors - 1
        view, detector = _pairs(range(v // 4 + 1), range(d // 2, d))
        # the identity, (x, y) -> (y, x), a quarter turn, (x, y) -> (-x, y); then with a half turn
        images = torch.stack([view, v // 2 - view, v // 2 + view, v - view])
        flipped = (images == v).repeat(2, 1)  # a view at pi is the view at 0, looked at from behind
        sides = torch.stack([detector] * 4 + [last - detector] * 4)
        return Seeds(
            view, detector, images.repeat(2, 1) % v, torch.where(flipped, last - sides, sides)
        )


@dataclass(frozen=True)
class ParallelAngles:
    """Parallel views at any increasing angles within 180 degrees.

    Attributes:
        size, spacing, detectors, detector_spacing: as in :class:`ParallelBeam`.
        list_of_angles: of the views, in radians.

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
        """The views in radians, (views,) float64."""
        return torch.tensor(self.list_of_angles, dtype=torch.float64)

    @property
    def field_of_view(self) -> float:
        """Radius in mm of the circle that every view sees."""
        return self.detectors * self.detector_spacing / 2

    def rays(self, views: Tensor, detectors: Tensor) -> Rays:
        """The rays of those views and detectors, index arrays of one shape (rays,)."""
        return _parallel(
            self.angles[views], _centred(self.detectors)[detectors] * self.detector_spacing
        )

    def seeds(self) -> None:
        """None: the views have no symmetry."""


@dataclass(frozen=True)
class FanBeam:
    """A point source on a circle, views 2 pi k / V over a full turn, and a flat or a curved
    detector facing it.

    Attributes:
        size, spacing: of the image, as in :class:`ParallelBeam`. views: V.
        source_distance: from the source to the centre of rotation, in mm.
        detector_distance: from the source to the detector, in mm.
        detectors: by default even, and enough to cover the image's diagonal.
        detector_spacing: in mm on the detector (along its arc where it is curved); by default a
            pixel's, magnified.
        detector_shape: ``flat``, or ``curved`` with the source at its centre.

    Raises:
        ValueError: a number is missing or out of range, or the source is within the image.
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
                f"source_distance is {self.source_distance} mm, within the image, whose corners "
                f"are {radius:g} mm from the centre"
            )
        if not self.detector_distance > 0:
            raise ValueError(f"detector_distance is {self.detector_distance} mm")
        if self.detector_shape not in ("flat", "curved"):
            raise ValueError(f"detector_shape is {self.detector_shape!r}, expected flat or curved")
        magnification = self.detector_distance / self.source_distance
        fan = math.asin(radius / self.source_distance)
        half = self.detector_distance * (math.tan(fan) if self.detector_shape == "flat" else fan)
        _complete(self, spacing=self.spacing * magnification, half_width=half)

    @property
    def angles(self) -> Tensor:
        """The views beta in radians, (views,) float64."""
        return torch.arange(self.views, dtype=torch.float64) * (2 * math.pi / self.views)

    @property
    def fan_angles(self) -> Tensor:
        """The angle gamma of each detector from the central ray, (detectors,) float64."""
        u = _centred(self.detectors) * self.detector_spacing / self.detector_distance
        return torch.atan(u) if self.detector_shape == "flat" else u

    @property
    def field_of_view(self) -> float:
        """Radius in mm of the circle that every view sees."""
        edge = self.detectors * self.detector_spacing / 2 / self.detector_distance
        gamma = math.atan(edge) if self.detector_shape == "flat" else min(edge, math.pi / 2)
        return self.source_distance * math.sin(gamma)

    def rays(self, views: Tensor, detectors: Tensor) -> Rays:
        """The rays of those views and detectors, index arrays of one shape (rays,)."""
        beta, gamma = self.angles[views], self.fan_angles[detectors]
        source = self.source_distance * torch.stack([beta.sin(), -beta.cos()], -1)
        # a positive gamma lies towards the detector axis (cos, sin): turn the central ray clockwise
        return Rays(source, torch.stack([-(beta - gamma).sin(), (beta - gamma).cos()], -1))

    def seeds(self) -> Seeds | None:
        """Views up to pi/4, all detectors; the views must be a multiple of 4."""
        if self.views % 4:
            return None
        v, quarter = self.views, self.views // 4
        view, same = _pairs(range(v // 8 + 1), range(self.detectors))
        other = self.detectors - 1 - same
        images = torch.stack([view, 3 * quarter - view, view + quarter, -view])
        turned = torch.cat([images, images + 2 * quarter]) % v
        return Seeds(view, same, turned, torch.stack([same, other, same, other]).repeat(2, 1))


Geometry = ParallelBeam | ParallelAngles | FanBeam
"""What a projector takes: ``size`` pixels of ``spacing`` mm per side, ``views`` at ``angles``,
``detectors`` of ``detector_spacing`` mm, ``field_of_view``, ``rays`` and ``seeds``."""


def check_angles(angles: Sequence[float], *, span: float) -> None:
    """Refuse angles that are no increasing list of views in radians.

    Raises:
        ValueError: none, not finite, not increasing, or spanning ``span`` or more.
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


def _parallel(theta: Tensor, s: Tensor) -> Rays:
    axis = torch.stack([theta.cos(), theta.sin()], -1)
    return Rays(s[:, None] * axis, torch.stack([-theta.sin(), theta.cos()], -1))


def _check(g: Geometry) -> None:
    if g.spacing is None:
        raise ValueError("the pixel spacing is missing: give it in mm")
    least = {"size": (g.size, 2), "views": (g.views, 1), "detectors": (g.detectors, 0)}
    for name, (value, low) in least.items():
        if value != int(value) or value < low:
            raise ValueError(f"{name} is {value}, expected a whole number from {low} on")
    if not 0 < g.spacing < math.inf:
        raise ValueError(f"the pixel spacing is {g.spacing} mm, expected a positive number")
    if not 0 <= g.detector_spacing < math.inf:
        raise ValueError(f"the detector spacing is {g.detector_spacing} mm")


def _complete_parallel(g: ParallelBeam | ParallelAngles) -> None:
    _complete(g, spacing=g.spacing, half_width=g.size * g.spacing / math.sqrt(2))


def _complete(g: Geometry, *, spacing: float, half_width: float) -> None:
    """Fill in the detector's defaults: these spacing and half width in mm."""
    if not g.detector_spacing:
        object.__setattr__(g, "detector_spacing", spacing)
    if not g.detectors:
        object.__setattr__(g, "detectors", 2 * math.ceil(half_width / g.detector_spacing - 1e-9))


def _centred(n: int) -> Tensor:
    return torch.arange(n, dtype=torch.float64) - (n - 1) / 2


def _pairs(views: range, detectors: range) -> tuple[Tensor, Tensor]:
    pairs = torch.cartesian_prod(torch.tensor(views), torch.tensor(detectors))
    return pairs[:, 0], pairs[:, 1]

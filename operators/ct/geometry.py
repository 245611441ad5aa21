r"""Scan geometries of CT: parallel and fan beams over a square image.

x points to the right, y upwards, and the origin is the centre of the image; lengths are in mm and
angles in radians. The rays of a view at angle theta run along :math:`(-\sin\theta, \cos\theta)`,
and its detector axis is :math:`(\cos\theta, \sin\theta)`: a parallel ray of offset s is
:math:`(s\cos\theta - l\sin\theta,\ s\sin\theta + l\cos\theta)`. In a fan beam the source is at
:math:`R(\sin\beta, -\cos\beta)`, and the central ray of a view has the same direction as there.

The middle of the detector may lie beside the axis of rotation, by ``detector_offset`` mm along the
detector axis: detector j of d, j = 0, 1, ..., is at ``(j - (d - 1) / 2) * detector_spacing +
detector_offset``, where 0 is the ray, or the central ray, through the axis of rotation.

Symmetry saves seven eighths of the work: where a grid of views is invariant under the symmetries of
the square, ``seeds`` returns the views and detectors that generate all others; rotations by 90
degrees remain where the detector is displaced.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from medscore.operators.ct.checks import check_angles, check_numbers, complete
from medscore.operators.ct.fan import FanBeam
from medscore.operators.ct.rays import Rays, Seeds, centred, pairs, parallel_rays

__all__ = ["FanBeam", "Geometry", "ParallelAngles", "ParallelBeam", "check_angles"]


@dataclass(frozen=True)
class ParallelBeam:
    """Views k pi / V, equally spaced over 180 degrees.

    Attributes:
        size: number of pixels per side.
        spacing: pixel spacing in mm.
        views: number of views V.
        detectors: number of detectors; by default even, and enough to cover the image's diagonal.
        detector_spacing: spacing of the detectors in mm; by default that of the pixels.
        detector_offset: position in mm of the middle of the detector on the detector axis.

    Raises:
        ValueError: a number is missing or out of range.
    """

    size: int
    spacing: float
    views: int
    detectors: int = 0
    detector_spacing: float = 0.0
    detector_offset: float = 0.0

    def __post_init__(self) -> None:
        check_numbers(self)
        _complete(self)

    @property
    def angles(self) -> Tensor:
        """Angles of the views in radians, (views,) float64."""
        return torch.arange(self.views, dtype=torch.float64) * (math.pi / self.views)

    @property
    def offsets(self) -> Tensor:
        """Positions s of the detectors in mm, (detectors,) float64."""
        return centred(self.detectors) * self.detector_spacing + self.detector_offset

    @property
    def field_of_view(self) -> float:
        """Radius in mm of the circle that is visible in every view."""
        return self.detectors * self.detector_spacing / 2 - abs(self.detector_offset)

    def rays(self, views: Tensor, detectors: Tensor) -> Rays:
        """The rays of some views and detectors.

        Args:
            views: index of the view of each ray, (rays,).
            detectors: index of the detector of each ray, (rays,).
        """
        return parallel_rays(self.angles[views], self.offsets[detectors])

    def seeds(self) -> Seeds | None:
        """Views up to pi/4 and detectors with s >= 0; ``None`` if the number of views is odd.

        Where the detector is displaced, all detectors of the views below pi/2.
        """
        if self.views % 2:
            return None
        v, d, last = self.views, self.detectors, self.detectors - 1
        if self.detector_offset:
            view, same = pairs(range(v // 2), range(d))
            turned = torch.stack([view, view + v // 2])
            return Seeds(view, same, turned, same.repeat(2, 1), (0, 2))
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
    """Parallel views at arbitrary angles within 360 degrees, in order; some may be equal.

    Attributes:
        size: number of pixels per side.
        spacing: pixel spacing in mm.
        list_of_angles: angles of the views in radians.
        detectors: number of detectors, as in :class:`ParallelBeam`.
        detector_spacing: spacing of the detectors in mm, as in :class:`ParallelBeam`.
        detector_offset: position of the detector's middle in mm, as in :class:`ParallelBeam`.

    Raises:
        ValueError: the angles decrease, span 360 degrees or more, or look like degrees.
    """

    size: int
    spacing: float
    list_of_angles: tuple[float, ...]
    detectors: int = 0
    detector_spacing: float = 0.0
    detector_offset: float = 0.0

    def __post_init__(self) -> None:
        check_angles(self.list_of_angles, span=2 * math.pi)
        check_numbers(self)
        _complete(self)

    @property
    def views(self) -> int:
        """Number of views."""
        return len(self.list_of_angles)

    @property
    def angles(self) -> Tensor:
        """Angles of the views in radians, (views,) float64."""
        return torch.tensor(self.list_of_angles, dtype=torch.float64)

    @property
    def offsets(self) -> Tensor:
        """Positions s of the detectors in mm, (detectors,) float64."""
        return centred(self.detectors) * self.detector_spacing + self.detector_offset

    @property
    def field_of_view(self) -> float:
        """Radius in mm of the circle that is visible in every view."""
        return self.detectors * self.detector_spacing / 2 - abs(self.detector_offset)

    def rays(self, views: Tensor, detectors: Tensor) -> Rays:
        """The rays of some views and detectors.

        Args:
            views: index of the view of each ray, (rays,).
            detectors: index of the detector of each ray, (rays,).
        """
        return parallel_rays(self.angles[views], self.offsets[detectors])

    def seeds(self) -> None:
        """``None``: the views have no symmetry."""


Geometry = ParallelBeam | ParallelAngles | FanBeam
"""The geometries of the projectors. They share ``size``, ``spacing``, ``views``, ``angles``,
``detectors``, ``detector_spacing``, ``detector_offset``, ``offsets``, ``field_of_view``, ``rays``
and ``seeds``."""


def _complete(g: ParallelBeam | ParallelAngles) -> None:
    complete(g, spacing=g.spacing, half_width=g.size * g.spacing / math.sqrt(2))

"""The fan beam; its coordinates are those of :mod:`medscore.operators.ct.geometry`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from medscore.operators.ct.checks import check_angles, check_numbers, complete
from medscore.operators.ct.rays import Rays, Seeds, centred, pairs


@dataclass(frozen=True)
class FanBeam:
    """A point source on a circle and a detector facing it: views 2 pi k / V, or at listed angles.

    Attributes:
        size: number of pixels per side.
        spacing: pixel spacing in mm.
        views: number of views V, over 360 degrees unless they are listed.
        source_distance: distance from the source to the centre of rotation in mm.
        detector_distance: distance from the source to the detector in mm.
        detectors: number of detectors; by default even, and enough to cover the image's diagonal.
        detector_spacing: spacing in mm on the detector (along its arc if it is curved); by default
            the pixel spacing times the magnification.
        detector_shape: ``flat``, or ``curved`` with the source at its centre.
        detector_offset: position in mm of the middle of the detector on the detector axis (along
            the arc if it is curved), where 0 is the ray through the axis of rotation.
        list_of_angles: angles of the views in radians, in order within 360 degrees; equally spaced
            from 0 on by default.

    Raises:
        ValueError: a number is missing or out of range, the source lies within the image, or the
            angles are not as many as the views, decrease, or look like degrees.
    """

    size: int
    spacing: float
    views: int
    source_distance: float
    detector_distance: float
    detectors: int = 0
    detector_spacing: float = 0.0
    detector_shape: str = "flat"
    detector_offset: float = 0.0
    list_of_angles: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_numbers(self)
        if self.list_of_angles:
            check_angles(self.list_of_angles, span=2 * math.pi)
            if len(self.list_of_angles) != self.views:
                raise ValueError(
                    f"`views` is {self.views}, but `list_of_angles` has {len(self.list_of_angles)}"
                )
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
        complete(self, spacing=self.spacing * magnification, half_width=half)

    @property
    def angles(self) -> Tensor:
        """Angles beta of the views in radians, (views,) float64."""
        if self.list_of_angles:
            return torch.tensor(self.list_of_angles, dtype=torch.float64)
        return torch.arange(self.views, dtype=torch.float64) * (2 * math.pi / self.views)

    @property
    def offsets(self) -> Tensor:
        """Positions of the detectors in mm from the central ray, (detectors,) float64."""
        return centred(self.detectors) * self.detector_spacing + self.detector_offset

    @property
    def fan_angles(self) -> Tensor:
        """The angle gamma of each detector from the central ray, (detectors,) float64."""
        return self._gamma(self.offsets)

    @property
    def reach(self) -> tuple[float, float]:
        """The angles gamma of the two ends of the detector."""
        half = self.detectors * self.detector_spacing / 2
        ends = torch.tensor([-half, half], dtype=torch.float64) + self.detector_offset
        low, high = self._gamma(ends).clamp(-math.pi / 2, math.pi / 2).tolist()
        return float(low), float(high)

    @property
    def field_of_view(self) -> float:
        """Radius in mm of the circle that is visible in every view."""
        low, high = self.reach
        return self.source_distance * math.sin(min(-low, high))

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
        """Views up to pi/4 and all detectors; ``None`` if 4 does not divide the views.

        Where the detector is displaced, the views below pi/2.
        """
        if self.views % 4 or self.list_of_angles:
            return None
        v, quarter = self.views, self.views // 4
        if self.detector_offset:
            view, same = pairs(range(quarter), range(self.detectors))
            turned = torch.stack([view + k * quarter for k in range(4)])
            return Seeds(view, same, turned, same.repeat(4, 1), (0, 2, 4, 6))
        view, same = pairs(range(v // 8 + 1), range(self.detectors))
        other = self.detectors - 1 - same
        images = torch.stack([view, 3 * quarter - view, view + quarter, -view])
        turned = torch.cat([images, images + 2 * quarter]) % v
        return Seeds(view, same, turned, torch.stack([same, other, same, other]).repeat(2, 1))

    def _gamma(self, u: Tensor) -> Tensor:
        """The angle at positions ``u`` in mm on the detector."""
        u = u / self.detector_distance
        return torch.atan(u) if self.detector_shape == "flat" else u

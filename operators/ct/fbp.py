r"""Filtered back-projection of parallel and fan beams.

The textbook formula for a flat detector (Kak and Slaney 1988, Eq. 3.81), with U the distance of the
pixel from the source along the central ray in units of the source's distance R,

.. math:: f(x) = \int U^{-2}
                 \int w(\beta, u)\,p(\beta, u)\cos\gamma\, h(u_x - u)\, du\, d\beta,

and for a curved one (Eq. 3.107) with the distance from the source itself and
:math:`h (\gamma/\sin\gamma)^2`. The weight w is 1/2 on a full turn; see
:mod:`~medscore.operators.ct.redundancy` for short scans and displaced detectors. The integral over
the angle weights each view by its share (:mod:`~medscore.operators.ct.shares`).

A parallel beam (U = 1, cos gamma = 1) is back-projected by the adjoint of the projector. Fan beams
are back-projected pixel by pixel (:mod:`~medscore.operators.ct.backprojection`), and so are
parallel beams with detectors wider than the pixels or with a displaced detector and opposite views.

For ``T_inv`` fan beams use the adjoint as well. It weights a ray by (pixel area) / (ray spacing at
the pixel), so it includes one factor :math:`U^{-1}`; the other one is replaced by its mean over a
full turn, a gain of the pixel. The refinement of ``T_inv`` corrects what that leaves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor

from medscore.operators.ct.backprojection import weighted_backprojection
from medscore.operators.ct.geometry import FanBeam, Geometry
from medscore.operators.ct.projector import backproject
from medscore.operators.ct.redundancy import arcs_of, check_detector, redundancy
from medscore.operators.ct.shares import half_turn_shares, turn_arcs

Window = Literal["ram-lak", "shepp-logan", "cosine", "hamming", "hann"]
"""Apodisation windows of the ramp filter, from none to the smoothest."""


@dataclass(frozen=True)
class Filter:
    """The views as they are back-projected: scale * weights * after * ramp(before * z), float64.

    A detector that is displaced and truncated is extended with zeros on its near side, where
    filtered views are not zero.

    Attributes:
        before: weights before filtering, (detectors,) or (views, detectors).
        response: frequency response of the ramp filter, (length // 2 + 1,).
        length: length of the FFT.
        margin: number of detectors by which the filtered views are extended on each side.
        after: weights of the detectors after filtering, (detectors,).
        weights: angle in radians that each view stands for, (views,); half of it where all rays are
            measured twice.
        scale: factor from the spacing of the detectors.
        adjoint: whether the adjoint of the projector back-projects the views.
    """

    before: Tensor
    response: Tensor
    length: int
    margin: tuple[int, int]
    after: Tensor
    weights: Tensor
    scale: float
    adjoint: bool

    def __call__(self, sinogram: Tensor) -> Tensor:
        """Filtered and weighted views.

        Args:
            sinogram: (..., views, detectors).
        """
        response = _like(self.response, sinogram)
        rays = torch.nn.functional.pad(_like(self.before, sinogram) * sinogram, self.margin)
        spectrum = torch.fft.rfft(rays, n=self.length) * response
        filtered: Tensor = torch.fft.irfft(spectrum, n=self.length)[..., : rays.shape[-1]]
        weights = _like(self.scale * self.weights, sinogram)
        return weights[:, None] * _like(self.after, sinogram) * filtered


@lru_cache(maxsize=16)
def ramp_filter(
    geometry: Geometry,
    views: tuple[int, ...] | None = None,
    *,
    window: Window = "ram-lak",
    partial: bool = False,
) -> Filter:
    """The filter for all views, or for some of them as if they were the whole scan.

    Args:
        geometry: the scan.
        views: indices of the views; all by default.
        window: apodisation window.
        partial: whether the rays may be too few for filtered back-projection.

    Raises:
        ValueError: a geometry for which there is no filtered back-projection, or rays that are
            missing in both directions.
    """
    angles = geometry.angles if views is None else geometry.angles[list(views)]
    before = torch.ones(geometry.detectors, dtype=torch.float64)
    if isinstance(geometry, FanBeam):
        twice, weights = _fan_rays(geometry, angles, partial)
        before = geometry.fan_angles.cos()
    else:
        twice, weights = _rays(geometry, angles, partial)
    margin = (0, 0) if twice is None else _margin(geometry)
    before = before if twice is None else 2 * twice * before
    d, step = geometry.detectors + sum(margin), torch.zeros(1)
    adjoint = not isinstance(geometry, FanBeam) and twice is None and not _coarse(geometry)
    scale = geometry.spacing**-2 if adjoint else 1 / geometry.detector_spacing
    if isinstance(geometry, FanBeam):
        scale *= geometry.detector_distance / geometry.source_distance
        if geometry.detector_shape == "curved":
            step = torch.arange(d) * (geometry.detector_spacing / geometry.detector_distance)
    response, length = _ramp(d, step, window)
    ones = torch.ones(d, dtype=torch.float64)
    return Filter(before, response, length, margin, ones, weights, scale, adjoint)


def filtered_backprojection(
    sinogram: Tensor, geometry: Geometry, ramp: Filter, views: tuple[int, ...], **backend: Any
) -> Tensor:
    """The image (..., size, size) of some views, filtered by ``ramp`` and back-projected.

    Args:
        sinogram: these views, (..., views, detectors).
        geometry: the scan.
        ramp: the filter that :func:`ramp_filter` returns for them.
        views: their indices.
        backend: options of :func:`~medscore.operators.ct.projector.backproject`.
    """
    if ramp.adjoint:
        return backproject(ramp(sinogram), geometry, views=views, **backend)
    wide = extended(geometry, ramp.margin)
    return weighted_backprojection(ramp(sinogram), wide, geometry.angles[list(views)])


@lru_cache(maxsize=8)
def adjoint_filter(geometry: Geometry) -> tuple[Filter, Tensor]:
    """The filter of all views for back-projection by the adjoint, and the gain of each pixel.

    Args:
        geometry: the scan.

    Returns:
        The filter, and the gain, (size, size) or () if it is 1.
    """
    ramp = replace(
        ramp_filter(geometry, partial=True), margin=(0, 0), scale=geometry.spacing**-2, adjoint=True
    )
    if not isinstance(geometry, FanBeam):
        return replace(ramp, after=ramp.after[: geometry.detectors]), torch.ones(())
    flat = geometry.detector_shape == "flat"
    after = geometry.fan_angles.cos() if flat else ramp.after[: geometry.detectors]
    return replace(ramp, after=after), _gain(geometry, along=flat)


def amplified(image: Tensor, gain: Tensor) -> Tensor:
    """``image`` (..., size, size) times a gain of :func:`adjoint_filter`.

    Args:
        image: images.
        gain: the gain.
    """
    return _like(gain, image) * image if gain.ndim else image


def taper(window: Window, f: Tensor) -> Tensor:
    """The window w(f) (Kak and Slaney 1988, section 3.3).

    Args:
        window: its name.
        f: frequencies in cycles per detector, 0 to 1/2.
    """
    match window:
        case "ram-lak":
            return torch.ones_like(f)
        case "shepp-logan":
            return torch.sinc(f)
        case "cosine":
            return torch.cos(math.pi * f)
        case "hamming":
            return 0.54 + 0.46 * torch.cos(2 * math.pi * f)
        case "hann":
            return 0.5 + 0.5 * torch.cos(2 * math.pi * f)


def _ramp(detectors: int, angle: Tensor, window: Window) -> tuple[Tensor, int]:
    """Response of the Ram-Lak filter (Kak and Slaney 1988, Eq. 3.61) for unit spacing, times a
    window; and the length of its FFT.

    ``angle`` (detectors,) is the angle that 0, 1, ... detectors subtend on an arc; zero on a line.
    """
    length = 2 ** math.ceil(math.log2(2 * detectors))
    k = torch.arange(detectors).double()
    odd = -1 / (math.pi * k.clamp_min(1)) ** 2
    kernel = torch.where(k == 0, 0.25, torch.where(k % 2 == 1, odd, 0.0))
    kernel = kernel / torch.sinc(angle.double() / math.pi) ** 2
    whole = torch.zeros(length, dtype=torch.float64)
    whole[:detectors] = kernel
    whole[length - detectors + 1 :] = kernel[1:].flip(0)
    frequency = torch.fft.rfftfreq(length, dtype=torch.float64)
    return torch.fft.rfft(whole).real * taper(window, frequency), length


def _fan_rays(geometry: FanBeam, angles: Tensor, partial: bool) -> tuple[Tensor | None, Tensor]:
    """Weights of the rays of a fan beam (``None`` if they are 1/2), and those of its views."""
    arcs = arcs_of(geometry, angles, partial=partial)
    if not partial:
        check_detector(geometry, whole_turn=not arcs.ends)
    return redundancy(geometry, angles, arcs), arcs.shares / 2


def _rays(geometry: Geometry, angles: Tensor, partial: bool) -> tuple[Tensor | None, Tensor]:
    """The same of a parallel beam: rays count fully, unless opposite views complete each other."""
    if float(angles.max() - angles.min()) > math.pi and geometry.detector_offset:
        arcs = turn_arcs(angles)
        twice = None if arcs.ends else redundancy(geometry, angles, arcs)
        if twice is not None:
            return twice, arcs.shares / 2
    if not partial:
        check_detector(geometry, whole_turn=False)
    return None, half_turn_shares(angles)


def _coarse(geometry: Geometry) -> bool:
    """True if the detectors are wider than the pixels: the adjoint then leaves pixels out."""
    return geometry.detector_spacing > (1 + 1e-9) * geometry.spacing


def _margin(geometry: Geometry) -> tuple[int, int]:
    """Detectors beyond each end that make both sides of a displaced detector equally long."""
    lacking = math.ceil(2 * abs(geometry.detector_offset) / geometry.detector_spacing - 1e-9)
    return (lacking, 0) if geometry.detector_offset > 0 else (0, lacking)


def extended(geometry: Geometry, margin: tuple[int, int]) -> Geometry:
    """The scan with further detectors on each side.

    Args:
        geometry: the scan.
        margin: their number on either side.
    """
    before, behind = margin
    return replace(
        geometry,
        detectors=geometry.detectors + before + behind,
        detector_offset=geometry.detector_offset
        + (behind - before) * geometry.detector_spacing / 2,
    )


def _gain(geometry: FanBeam, *, along: bool) -> Tensor:
    """Mean of U^-2 over mean of U^-1 at each pixel; U along the central ray, or the distance."""
    n, turn = geometry.size, torch.arange(64, dtype=torch.float64) * (2 * math.pi / 64)
    at = (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * geometry.spacing
    radius = (at[:, None] ** 2 + at**2).sqrt()[..., None] / geometry.source_distance
    along_ray = 1 + radius * turn.sin()
    inverse = 1 / (along_ray if along else (along_ray**2 + (radius * turn.cos()) ** 2).sqrt())
    return (inverse**2).mean(-1) / inverse.mean(-1)


def _like(value: Tensor, other: Tensor) -> Tensor:
    return value.to(dtype=other.dtype, device=other.device)

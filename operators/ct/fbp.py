r"""Filtered back-projection of parallel and fan beams, from the projector's own adjoint.

The textbook formula for a flat detector (Kak and Slaney 1988, Eq. 3.81), with U the distance of the
pixel from the source along the central ray in units of the source's distance R,

.. math:: f(x) = \tfrac12 \int_0^{2\pi} U^{-2}
                 \int p(\beta, u)\cos\gamma\, h(u_x - u)\, du\, d\beta,

and for a curved one with the distance from the source itself and :math:`h (\gamma/\sin\gamma)^2`.
The adjoint of the projector weights a ray by (pixel area) / (ray spacing at the pixel), so it
includes one factor :math:`U^{-1}`; the other one is replaced by its mean over a full rotation, a
gain of the pixel. In a parallel beam U = 1 and cos gamma = 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from medscore.operators.ct.geometry import FanBeam, Geometry, ParallelAngles, ParallelBeam

Window = Literal["ram-lak", "shepp-logan", "cosine", "hamming", "hann"]
"""Apodisation windows of the ramp filter, from none to the smoothest."""


@dataclass(frozen=True)
class Filter:
    """Filtered back-projection as gain * T^T (weights * after * ramp(before * z)), float64.

    Attributes:
        before: weights of the detectors before filtering, (detectors,).
        response: frequency response of the ramp filter, (length // 2 + 1,).
        length: length of the FFT.
        after: weights of the detectors after filtering, (detectors,).
        weights: weights of the views, (views,).
        gain: factor of each pixel, (size, size), or () if it is 1.
    """

    before: Tensor
    response: Tensor
    length: int
    after: Tensor
    weights: Tensor
    gain: Tensor

    def __call__(self, sinogram: Tensor) -> Tensor:
        """Filtered and weighted views; their back-projection times ``gain`` is the image.

        Args:
            sinogram: (..., views, detectors).
        """
        response = _like(self.response, sinogram)
        spectrum = torch.fft.rfft(_like(self.before, sinogram) * sinogram, n=self.length)
        filtered: Tensor = torch.fft.irfft(spectrum * response, n=self.length)[
            ..., : len(self.before)
        ]
        return _like(self.weights, sinogram)[:, None] * _like(self.after, sinogram) * filtered

    def amplify(self, image: Tensor) -> Tensor:
        """``image`` (..., size, size) times ``gain``."""
        return _like(self.gain, image) * image if self.gain.ndim else image


@lru_cache(maxsize=16)
def ramp_filter(
    geometry: Geometry, views: tuple[int, ...] | None = None, *, window: Window = "ram-lak"
) -> Filter:
    """The filter for all views, or for some of them as if they were the whole scan.

    Args:
        geometry: the scan.
        views: indices of the views; all by default.
        window: apodisation window.

    Raises:
        ValueError: a geometry for which there is no filtered back-projection.
    """
    spacing, d = geometry.detector_spacing, geometry.detectors
    angles = geometry.angles if views is None else geometry.angles[list(views)]
    if isinstance(geometry, ParallelBeam | ParallelAngles):
        weights = _arc_shares(angles, math.pi)
        ones = torch.ones(d, dtype=torch.float64)
        response, length = _ramp(d, torch.zeros(d), window)
        return Filter(ones, response, length, ones, weights / geometry.spacing**2, torch.ones(()))
    if not isinstance(geometry, FanBeam):
        raise ValueError(f"there is no filtered back-projection for {geometry}")
    cosine = geometry.fan_angles.cos()
    weights = _arc_shares(angles, 2 * math.pi) / 2 / geometry.spacing**2
    if geometry.detector_shape == "flat":
        response, length = _ramp(d, torch.zeros(d), window)
        return Filter(cosine, response, length, cosine, weights, _gain(geometry, along=True))
    step = torch.arange(d) * (spacing / geometry.detector_distance)
    response, length = _ramp(d, step, window)
    return Filter(
        cosine, response, length, torch.ones_like(cosine), weights, _gain(geometry, along=False)
    )


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


def _arc_shares(angles: Tensor, turn: float) -> Tensor:
    """The angle that each view represents: half the gaps to its neighbours, cyclic in ``turn``.

    A gap of more than three times the median is not part of the arc (limited-angle scans).
    """
    if len(angles) == 1:
        return torch.full((1,), turn, dtype=torch.float64)
    order = angles.argsort()
    sorted_angles = angles[order]
    gaps = torch.cat([sorted_angles[1:], sorted_angles[:1] + turn]) - sorted_angles
    usual = gaps.median()
    gaps = torch.where(gaps > 3 * usual, usual, gaps)
    shares = torch.empty_like(gaps)
    shares[order] = (gaps + gaps.roll(1)) / 2
    return shares


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

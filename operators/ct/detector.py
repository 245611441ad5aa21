r"""The width of a detector: each reading is the mean intensity of K thin rays across it.

.. math:: y = -\log \frac1K \sum_{k=1}^K e^{-p_k}

with the line integrals :math:`p_k` along the thin rays, equally spaced within the detector. The
intensity is averaged, not the line integral, which makes the partial volume effect nonlinear.
"""

from __future__ import annotations

import math
from dataclasses import replace

from torch import Tensor

from medscore.operators.ct.geometry import FanBeam, ParallelBeam

LEAST_RAYS = 3
"""Smallest number K of thin rays across a detector."""


def rays_per_detector(geometry: ParallelBeam) -> int:
    """K, at least ``LEAST_RAYS``, so that thin rays are at most one pixel apart.

    Args:
        geometry: the scan of the object, on the object's pixel grid.
    """
    pixels = geometry.detector_spacing / geometry.spacing
    return max(LEAST_RAYS, math.ceil(pixels - 1e-9))


def thin(geometry: ParallelBeam | FanBeam, rays: int) -> ParallelBeam | FanBeam:
    """The scan with every detector divided into thin ones.

    Args:
        geometry: the scan.
        rays: K, the number of thin rays across each detector.
    """
    return replace(
        geometry,
        detectors=rays * geometry.detectors,
        detector_spacing=geometry.detector_spacing / rays,
    )


def by_detector(values: Tensor, rays: int) -> Tensor:
    """The values of thin rays (..., K x detectors) as (..., detectors, K).

    Args:
        values: one value for each thin ray.
        rays: K, the number of thin rays across each detector.
    """
    return values.reshape(*values.shape[:-1], values.shape[-1] // rays, rays)

"""Line integrals computed on the fly by GPU kernels, with no matrix in memory.

The interpolation is that of :mod:`~medscore.operators.ct.joseph`. Each program of the forward
kernel follows a block of rays through the rows (or columns) that they cross. Each program of the
adjoint kernel computes a block of pixels from the few detectors of each view whose rays pass within
one pixel of them, so there are no atomic additions and results are reproducible.

With ``TRITON_INTERPRET=1`` the kernels run on the CPU, for tests.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec

import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.operators.ct.backends.base import Backend, Views
from medscore.operators.ct.geometry import FanBeam, Geometry, ParallelAngles, ParallelBeam
from medscore.operators.ct.joseph import crossings


class Triton(Backend):
    """``triton``: on CUDA; parallel and fan beams.

    Raises:
        MedscoreError: triton is not installed, or there is no CUDA device for it.
    """

    def __init__(self) -> None:
        if not self.is_at_hand():
            raise MedscoreError(
                "the projector backend triton needs the package triton and a CUDA device",
                hint="use csr",
            )

    @staticmethod
    def is_at_hand() -> bool:
        """True if triton is installed and can run, on CUDA or in its interpreter."""
        runs = torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET") == "1"
        return runs and find_spec("triton") is not None

    def project(self, x: Tensor, geometry: Geometry, views: Views | None) -> Tensor:
        from medscore.operators.ct.backends import triton_kernels

        scan = _scan(geometry, views, x.dtype, x.device)
        columns = x.flatten(1).t().contiguous()
        rays = triton_kernels.project(columns, scan.lines, geometry.size)
        return rays.t().reshape(len(x), -1, geometry.detectors)

    def backproject(self, sinogram: Tensor, geometry: Geometry, views: Views | None) -> Tensor:
        from medscore.operators.ct.backends import triton_kernels

        scan = _scan(geometry, views, sinogram.dtype, sinogram.device)
        columns = sinogram.flatten(1).t().contiguous()
        pixels = triton_kernels.backproject(
            columns, scan.lines, scan.lookup, scan.near, geometry.size, geometry.detectors
        )
        return pixels.t().reshape(len(sinogram), geometry.size, geometry.size)


@dataclass(frozen=True)
class Scan:
    """The arguments of the kernels.

    Attributes:
        lines: (4, rays): c_0, r, the length in each line crossed, and 1 where steep.
        lookup: (views, 7): parameters p; the detector of a point (x, y), in pixels from the centre,
            is p_6 f((p_0 x + p_1 y) / (1 + p_2 x + p_3 y)) + p_4, where f is the identity if p_5 is
            0 and the arc tangent otherwise.
        near: largest number of detectors whose rays pass within one pixel of a pixel.
    """

    lines: Tensor
    lookup: Tensor
    near: int


@lru_cache(maxsize=4)
def _scan(
    geometry: Geometry, views: Views | None, dtype: torch.dtype, device: torch.device
) -> Scan:
    chosen = torch.arange(geometry.views) if views is None else torch.tensor(views)
    view = chosen.repeat_interleave(geometry.detectors)
    detector = torch.arange(geometry.detectors).repeat(len(chosen))
    _, _, start_at, rate, length, steep = crossings(
        geometry.rays(view, detector), geometry.size, geometry.spacing
    )
    lines = torch.stack([start_at, rate, length, steep.double()])
    lookup, magnification = _lookup(geometry, geometry.angles[chosen])
    near = math.floor(2 * geometry.spacing * magnification / geometry.detector_spacing) + 3
    return Scan(lines.to(device, dtype), lookup.to(device, dtype), near)


def _lookup(geometry: Geometry, angles: Tensor) -> tuple[Tensor, float]:
    """``Scan.lookup``, and the largest magnification within the image."""
    one, nought = torch.ones_like(angles), torch.zeros_like(angles)
    h, width = geometry.spacing, geometry.detector_spacing
    middle = ((geometry.detectors - 1) / 2 - geometry.detector_offset / width) * one
    across = h * torch.stack([angles.cos(), angles.sin()])
    if isinstance(geometry, ParallelBeam | ParallelAngles):
        rows = [*across, nought, nought, middle, nought, one / width]
        return torch.stack(rows, 1), 1.0
    if not isinstance(geometry, FanBeam):
        raise MedscoreError(
            f"the projector backend triton does not support {geometry}", hint="use csr"
        )
    source, curved = geometry.source_distance, geometry.detector_shape == "curved"
    along = h * torch.stack([-angles.sin(), angles.cos()]) / source
    scale = geometry.detector_distance / width * one
    rows = [*(across / source), *along, middle, curved * one, scale]
    nearest = source - geometry.size * h / math.sqrt(2)
    if curved and math.tan(geometry.size * h / math.sqrt(2) / nearest) > 1:
        raise MedscoreError(
            "the fan angle is too large for the projector backend triton", hint="use csr"
        )
    return torch.stack(rows, 1), geometry.detector_distance / nearest

"""The CUDA projectors of torch-radon (Ronchetti 2020), if it can be imported.

torch-radon is not in a package registry and must be built for the local CUDA version; medscore
never requires it. It samples rays by bilinear interpolation and back-projects pixel by pixel, so
its back-projection is only approximately the adjoint of its projection (conjugate gradients stall
at that accuracy), and its line integrals differ from Joseph's by the interpolation. It serves
comparisons and must be chosen by name.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from torch import Tensor

from medscore.errors import MedscoreError, optional_module
from medscore.operators.ct.backends.base import Backend, Views
from medscore.operators.ct.geometry import FanBeam, Geometry, ParallelAngles, ParallelBeam


class TorchRadon(Backend):
    """``torch-radon``: float32 on CUDA, images with a multiple of 16 pixels per side.

    Raises:
        MedscoreError: torch-radon cannot be imported, or does not support the geometry.
    """

    def __init__(self) -> None:
        optional_module(
            "torch_radon", "the projector backend torch-radon", instead="use csr or triton"
        )

    @staticmethod
    def is_at_hand() -> bool:
        """True if torch-radon is installed."""
        return find_spec("torch_radon") is not None

    def project(self, x: Tensor, geometry: Geometry, views: Views | None) -> Tensor:
        sinogram: Tensor = _projector(geometry, views).forward(x.contiguous())
        return sinogram * geometry.spacing

    def backproject(self, sinogram: Tensor, geometry: Geometry, views: Views | None) -> Tensor:
        image: Tensor = _projector(geometry, views).backprojection(sinogram.contiguous())
        return image * geometry.spacing


@lru_cache(maxsize=4)
def _projector(geometry: Geometry, views: Views | None) -> Any:
    import torch_radon

    if geometry.size % 16:
        raise MedscoreError(
            "the projector backend torch-radon needs a multiple of 16 pixels per side, the image "
            f"has {geometry.size}",
            hint="pad the image, or use csr",
        )
    if geometry.detector_offset:
        raise MedscoreError(
            "the projector backend torch-radon does not support `detector_offset`", hint="use csr"
        )
    angles = (geometry.angles if views is None else geometry.angles[list(views)]).float()
    width = geometry.detector_spacing / geometry.spacing  # the unit of length is the pixel
    if isinstance(geometry, ParallelBeam | ParallelAngles):
        return torch_radon.Radon(
            geometry.size, angles, det_count=geometry.detectors, det_spacing=width
        )
    if isinstance(geometry, FanBeam) and geometry.detector_shape == "flat":
        return torch_radon.RadonFanbeam(
            geometry.size,
            angles,
            source_distance=geometry.source_distance / geometry.spacing,
            det_distance=(geometry.detector_distance - geometry.source_distance) / geometry.spacing,
            det_count=geometry.detectors,
            det_spacing=width,
        )
    raise MedscoreError(
        f"the projector backend torch-radon does not support {geometry}", hint="use csr"
    )

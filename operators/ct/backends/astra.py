"""ASTRA's CPU projector ``linear`` (Joseph's method), an independent implementation for checks.

It needs astra-toolbox (the extra ``medscore[bench]``). Parallel beams in float32 on the CPU only:
ASTRA uses a different kernel for fan beams, and its 3D functions terminate the interpreter where
there is no GPU.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medscore.errors import MedscoreError, optional_module
from medscore.operators.ct.backends.base import Backend, Views
from medscore.operators.ct.geometry import Geometry, ParallelAngles, ParallelBeam


class Astra(Backend):
    """``astra``: line integrals in float32 on the CPU for any dtype and device; exact adjoint.

    Raises:
        MedscoreError: astra-toolbox is not installed, or the beam is not parallel.
    """

    def __init__(self) -> None:
        optional_module(
            "astra", "the projector backend astra", install="astra-toolbox", instead="use csr"
        )

    @staticmethod
    def is_at_hand() -> bool:
        """True if astra-toolbox is installed."""
        return find_spec("astra") is not None

    def project(self, x: Tensor, geometry: Geometry, views: Views | None) -> Tensor:
        operator = _projector(geometry, views)
        images = x.detach().cpu().numpy().astype(np.float32)
        sinogram = np.stack([operator.FP(image) for image in images])
        return torch.from_numpy(sinogram).to(x) * geometry.spacing

    def backproject(self, sinogram: Tensor, geometry: Geometry, views: Views | None) -> Tensor:
        operator = _projector(geometry, views)
        rays = sinogram.detach().cpu().numpy().astype(np.float32)
        images = np.stack([operator.BP(one) for one in rays])
        return torch.from_numpy(images).to(sinogram) * geometry.spacing


@lru_cache(maxsize=4)
def _projector(geometry: Geometry, views: Views | None) -> Any:
    import astra

    if not isinstance(geometry, ParallelBeam | ParallelAngles):
        raise MedscoreError(
            f"the projector backend astra does not support {type(geometry).__name__}",
            hint="use csr",
        )
    theta = geometry.angles.numpy()
    theta = theta if views is None else theta[list(views)]
    cos, sin = np.cos(theta), np.sin(theta)
    width = geometry.detector_spacing / geometry.spacing  # the unit of length is the pixel
    away = geometry.detector_offset / geometry.spacing
    vectors = np.stack([-sin, cos, away * cos, away * sin, width * cos, width * sin], axis=1)
    scan = astra.create_proj_geom("parallel_vec", geometry.detectors, vectors)
    square = astra.create_vol_geom(geometry.size, geometry.size)
    return astra.OpTomo(astra.create_projector("linear", scan, square))

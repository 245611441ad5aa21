"""What a measurement gives without a prior: the image that reconstructions are compared to."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medscore.attenuation import mu_to_hu
from medscore.datasets.volume import AIR
from medscore.measurement import HU, Measurement
from medscore.operators.base import Operator
from medscore.operators.metal import interpolate_trace
from medscore.operators.radon import Radon


def classical(m: Measurement) -> tuple[str, NDArray[np.float32]]:
    """Its name, and slices (n, H, W) in HU or as magnitudes.

    Of CT filtered back-projection (``FBP``), after linear interpolation where single rays are
    missing (``LI``); of k-space and all else the measurements with zeros (of CT images, air) where
    nothing was measured (``zero-filled``).
    """
    images = [
        _one(m, m.operator.rows([i]), torch.from_numpy(y)[None]) for i, y in enumerate(m.data)
    ]
    name = "zero-filled"
    if isinstance(m.operator, Radon):
        name = "LI" if _misses_rays(m.operator) else "FBP"
    return name, torch.cat(images)[:, 0].float().numpy()


def _one(m: Measurement, operator: Operator, y: Tensor) -> Tensor:
    if isinstance(operator, Radon):
        assert m.mu_water is not None
        if _misses_rays(operator):
            mask = operator.mask(y)
            seen = mask.bool().any(-1, keepdim=True).to(y)
            whole = Radon(operator.geometry, seen[0, 0] if seen.ndim == 4 else seen)
            return mu_to_hu(whole.fbp(seen * interpolate_trace(y, mask)), m.mu_water)
        return mu_to_hu(operator.fbp(y), m.mu_water)
    if m.image_unit == HU:
        air = torch.full((1, 1, *operator.image_shape[-2:]), AIR)
        return AIR + operator.zero_filled(y - operator.forward(air))
    image = operator.zero_filled(y)
    return image.abs() if image.is_complex() else image


def _misses_rays(operator: Radon) -> bool:
    """Whether single rays of a view are missing."""
    return operator.diagonal.shape[-1] > 1

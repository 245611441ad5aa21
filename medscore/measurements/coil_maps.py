"""Coil sensitivities from the centre of k-space, by the name of the estimator."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from medscore.operators.grid import OperatorError
from medscore.operators.mri.espirit import espirit
from medscore.operators.mri.masks import calibration_region
from medscore.operators.mri.sensitivity import low_resolution

MAPS: dict[str, Callable[[Tensor, tuple[int, int]], Tensor]] = {
    "low-resolution": low_resolution,
    "espirit": espirit,
}
"""Estimators of coil sensitivities by name."""


def coil_maps(name: str, kspace: Tensor, sampled: Tensor) -> Tensor:
    """Coil sensitivities (slices, coil, ky, kx), complex64.

    Args:
        name: estimator, a key of ``MAPS``.
        kspace: (slices, coil, ky, kx), zero where nothing was measured.
        sampled: (ky, kx), the samples that all slices have.

    Raises:
        OperatorError: there is no fully sampled centre that suffices, or the estimator finds no
            signal in it.
    """
    sides = calibration_region(sampled)
    maps = MAPS[name](kspace, sides).to(torch.complex64)
    if not bool(maps.any()):
        raise OperatorError(
            f"{name} finds no signal in the fully sampled centre of {sides[0]} x {sides[1]} samples"
        )
    return maps

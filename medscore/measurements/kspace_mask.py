"""Sampling patterns of k-space by name."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.measurements.choices import check_seed
from medscore.operators.mri import masks

SHAPES: dict[str, Callable[[tuple[int, int], float, torch.Generator], Tensor]] = {
    "equispaced": lambda shape, r, g: masks.equispaced(shape, r),
    "random": masks.random_cartesian,
    "variable-density": masks.variable_density_1d,
    "variable-density-2d": masks.variable_density_2d,
}
"""Sampling patterns from shape, acceleration and generator."""


def kspace_mask(shape: tuple[int, int], name: str, acceleration: float, seed: int) -> Tensor:
    """Build the mask (ky, kx) of a sampling pattern.

    Args:
        shape: samples along ky and kx.
        name: sampling pattern, a key of ``SHAPES``.
        acceleration: all lines over measured lines, centre included.
        seed: seed of random patterns.

    Raises:
        MedscoreError: the pattern is unknown or does not reach the acceleration.
    """
    check_seed(seed)
    if name not in SHAPES:
        raise MedscoreError(f"`mask` is {name!r}", hint=f"use one of: {', '.join(SHAPES)}")
    if not 1 <= acceleration < math.inf:
        raise MedscoreError(f"`acceleration` is {acceleration:g}", hint="use 1 or more, such as 4")
    left = round(shape[1] / acceleration)
    if left < 2 and name != "variable-density-2d":
        raise MedscoreError(
            f"`acceleration` is {acceleration:g}: the acceleration leaves {left} of {shape[1]} "
            "lines, fewer than 2",
            hint=f"use at most {shape[1] // 2}, such as 4",
        )
    try:
        return SHAPES[name](shape, acceleration, torch.Generator().manual_seed(seed))
    except ValueError as error:
        what = str(error).partition(": use a lower")[0]
        raise MedscoreError(f"`acceleration` is {acceleration:g}: {what}", hint="use 4") from error

"""Resampling of an uneven or tilted stack of slices onto an even, upright grid.

Each slice is shifted back in its plane by the shear of the gantry tilt, and values between slices
are interpolated linearly along the normal. Slices that lie on the new grid are kept unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medscore.datasets.dicom.stack import Stack

SAME = 1e-3
"""Distance in mm within which a slice lies on the new grid, and below which a shift is ignored."""


@dataclass(frozen=True)
class EvenStack:
    """Slices on an even, upright grid.

    Attributes:
        values: (n, rows, columns).
        along: (n,) distance from the first slice along the normal in mm.
    """

    values: NDArray[np.float32]
    along: NDArray[np.float64]


def straighten(values: NDArray[np.float32], stack: Stack, outside: float) -> EvenStack:
    """Resample a stack to slices ``stack.step`` apart, from the first to the last.

    Args:
        values: (n, rows, columns) in the order of the stack.
        stack: geometry of the slices.
        outside: value where a shifted slice does not reach.
    """
    row_mm, column_mm = stack.frames[0].spacing
    upright = np.empty_like(values)
    for made, image, (right, down) in zip(upright, values, stack.drift, strict=True):
        if max(abs(right), abs(down)) <= SAME:
            made[:] = image
        else:
            # the slice's pixel (0, 0) lies `down`, `right` mm into the first slice's grid
            shift = (down / row_mm, right / column_mm)
            ndimage.shift(image, shift, output=made, order=1, mode="constant", cval=outside)
    count = int(np.floor(stack.along[-1] / stack.step + 1e-3)) + 1
    along = np.arange(count, dtype=np.float64) * stack.step
    made_of = np.empty((count, *values.shape[1:]), dtype=np.float32)
    for slice_, z in zip(made_of, along, strict=True):
        above = int(np.clip(np.searchsorted(stack.along, z), 1, len(stack.along) - 1))
        low, high = stack.along[above - 1], stack.along[above]
        share = float(np.clip((z - low) / (high - low), 0, 1))
        if share * (high - low) <= SAME:
            slice_[:] = upright[above - 1]
        elif (1 - share) * (high - low) <= SAME:
            slice_[:] = upright[above]
        else:
            slice_[:] = (1 - share) * upright[above - 1] + share * upright[above]
    return EvenStack(made_of, along)

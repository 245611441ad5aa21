"""An uneven or leaning stack of slices, resampled onto an even and upright grid.

Each slice is shifted back in its plane by how far the gantry's tilt moved it, and values between
slices are interpolated linearly along the normal. Where slices lie on the new grid and nothing
leans, they are kept as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medscore.datasets.dicom.stack import Stack

SAME = 1e-3
"""mm within which a slice lies on the new grid, and shifts that are none."""


@dataclass(frozen=True)
class Straight:
    """Slices (n, rows, columns) at ``along`` mm (n,) from the first, along the normal."""

    values: NDArray[np.float32]
    along: NDArray[np.float64]


def straighten(values: NDArray[np.float32], stack: Stack, outside: float) -> Straight:
    """Slices ``stack.step`` apart from the first to the last; ``outside`` fills what a shifted
    slice does not cover.
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
    return Straight(made_of, along)

"""The order of axes for display: columns run to the left, rows to posterior, slices upwards.

The voxel grid is only permuted and flipped, and the affine follows.
"""

from __future__ import annotations

from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray


def to_display(
    values: NDArray[np.float32], affine: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Reorder the axes of an image to axial slices in radiological display.

    Args:
        values: array of 2 or 3 axes in any order.
        affine: (4, 4) map from its indices to RAS mm.

    Returns:
        Slices (slices, rows, columns), contiguous, and the affine of (column, row, slice).
    """
    image = nib.Nifti1Image(values[..., None] if values.ndim == 2 else values, affine)
    target = nib.orientations.axcodes2ornt(("L", "P", "S"))
    change = nib.orientations.ornt_transform(nib.orientations.io_orientation(affine), target)
    oriented: Any = image.as_reoriented(change)
    data = np.asarray(oriented.dataobj)
    return np.ascontiguousarray(data.transpose(2, 1, 0)), np.asarray(oriented.affine)

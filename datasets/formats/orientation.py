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


def axes_of(affine: NDArray[np.float64]) -> str:
    """The directions of the axes of an image, such as "RAS"; empty if they are not distinct.

    Args:
        affine: (4, 4) map from its indices to RAS mm.
    """
    codes = nib.aff2axcodes(affine)
    return "" if None in codes else "".join(map(str, codes))


def from_display(
    values: NDArray[np.float32], affine: NDArray[np.float64], axes: str = ""
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Reorder slices in display to axes as an image had them, the inverse of :func:`to_display`.

    Args:
        values: (slices, rows, columns).
        affine: (4, 4) map from voxel (column, row, slice) to RAS mm.
        axes: directions of the axes, as :func:`axes_of` states them; by default those of display.

    Returns:
        Array of 3 axes in that order, contiguous, and the affine of its indices.
    """
    image = nib.Nifti1Image(values.transpose(2, 1, 0), affine)
    if axes:
        own = nib.orientations.io_orientation(affine)
        change = nib.orientations.ornt_transform(own, nib.orientations.axcodes2ornt(tuple(axes)))
        image = image.as_reoriented(change)
    return np.ascontiguousarray(image.dataobj), np.asarray(image.affine)

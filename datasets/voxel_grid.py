"""The check of a voxel grid that every image must pass, whatever file it is from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medscore.errors import MedscoreError

SPACINGS = (1e-5, 1e5)
"""Smallest and largest distance between voxels in mm: 10 nanometres and 100 metres."""

FARTHEST = 1e7
"""Largest distance of the first voxel from the origin in mm."""


def check_grid(affine: NDArray[np.float64], where: str | Path | None = None) -> None:
    """Reject a grid whose voxels are of no possible size or at no possible place.

    Args:
        affine: (4, 4) map from voxel (column, row, slice) to mm.
        where: file to name in the error.

    Raises:
        MedscoreError: a distance between voxels is outside ``SPACINGS``, the axes do not span the
            space, or the first voxel lies farther than ``FARTHEST`` from the origin.
    """
    if found := grid_fault(affine):
        what, hint = found
        raise MedscoreError(what, where=where, hint=hint)


def grid_fault(affine: NDArray[np.float64]) -> tuple[str, str] | None:
    """What is wrong with a grid, and what mends it; None if nothing is.

    Args:
        affine: see :func:`check_grid`.
    """
    if not np.isfinite(affine).all() or np.abs(affine).max() > FARTHEST:
        return (
            "the affine of the voxel grid has values that are infinite, NaN or beyond 10 km",
            "export it again with its position",
        )
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    low, high = SPACINGS
    if not ((spacing >= low) & (spacing <= high)).all():
        return (
            f"the voxels are {' x '.join(f'{s:.4g}' for s in spacing)} mm",
            f"correct the spacing, which must be between {low:g} and {high:g} mm",
        )
    if not abs(np.linalg.det(affine[:3, :3] / spacing)) > 1e-3:
        return (
            "the axes of the voxel grid do not span the space",
            "export it again with its orientation",
        )
    return None

r"""Any slices on a square grid, such as that of a prior, and back.

The new grid is concentric with the old one, and its pixels are the smallest allowed ones that show
all of the image. The map is separable,

.. math:: f = D_y\, x\, D_x^T, \qquad x' = U_y\, f\, U_x^T.

Towards larger pixels D takes area means; towards smaller ones U does, and nothing is lost. Where
the pixels are equal, both only pad and crop, in whole pixels, so the values stay exact. The
matrices of an axis are made in :mod:`medscore.datasets.fit_axis`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.fit_axis import Axis, axis
from medscore.datasets.volume import AIR, Volume, guess
from medscore.errors import MedscoreError

SQUARE = 1e-3
"""Relative difference of the sides up to which pixels count as square."""


@dataclass(frozen=True)
class Fit:
    """The map between the grid of slices and another grid.

    Attributes:
        rows: map from row to row.
        columns: map from column to column.
    """

    rows: Axis
    columns: Axis

    @property
    def source_shape(self) -> tuple[int, int]:
        """Rows and columns of the source."""
        return len(self.rows.up), len(self.columns.up)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the new grid."""
        return len(self.rows.down), len(self.columns.down)

    @property
    def lossless(self) -> bool:
        """True if undoing the fit gives all values back."""
        return self.rows.lossless and self.columns.lossless

    @property
    def trivial(self) -> bool:
        """True if both grids are the same."""
        return self.shape == self.source_shape and self.rows.shift == 0 == self.columns.shift

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Pixels of the source that lie in the field of the new grid, (rows, columns) bool."""
        return self.rows.inside[:, None] & self.columns.inside

    def apply(self, images: NDArray[np.floating], fill: float = 0.0) -> NDArray[np.float32]:
        """Images of the source on the new grid.

        Args:
            images: (..., rows, columns).
            fill: value around the source.
        """
        return _mapped(
            images, self.rows.down, self.columns.down, fill, self.rows.shift, self.columns.shift
        )

    def undo(self, images: NDArray[np.floating], fill: float = 0.0) -> NDArray[np.float32]:
        """Images of the new grid on that of the source.

        Args:
            images: (..., rows, columns).
            fill: value outside the field of the new grid.
        """
        rows, columns = self.rows.shift, self.columns.shift
        return _mapped(
            images, self.rows.up, self.columns.up, fill,
            None if rows is None else -rows, None if columns is None else -columns,
        )  # fmt: skip

    def affine(self, source: NDArray[np.float64]) -> NDArray[np.float64]:
        """The affine of the new grid.

        Args:
            source: (4, 4) affine of the source, from voxel (column, row, slice) to mm.
        """
        affine = source.copy()
        affine[:3, 3] += self.columns.start * source[:3, 0] + self.rows.start * source[:3, 1]
        affine[:3, 0] *= self.columns.step
        affine[:3, 1] *= self.rows.step
        return affine


def fit(
    volume: Volume, size: int, spacing_mm: tuple[float, float] | None = None
) -> tuple[Volume, Fit]:
    """Fit slices to a square grid of square pixels; the number of slices stays.

    Args:
        volume: slices of any matrix and pixel spacing.
        size: rows and columns of the new grid.
        spacing_mm: smallest and largest pixel spacing in mm; any by default, so that the whole
            image is shown.
    """
    column, row, _ = volume.spacing
    found = fit_grid(volume.values.shape[1:], (row, column), size, spacing_mm)
    return fitted(volume, found), found


def fitted(volume: Volume, to: Fit) -> Volume:
    """The slices on the new grid of a fit, surrounded by air, or by zeros for MR.

    Args:
        volume: slices on the grid of the source.
        to: the fit.
    """
    if to.trivial:
        return volume
    values = to.apply(volume.values, fill_of(guess(volume)))
    return replace(volume, values=values, affine=to.affine(volume.affine))


def reduce(volume: Volume, size: int, where: str | Path | None = None) -> Volume:
    """Slices on a square grid of fewer pixels, which shows the whole image.

    Args:
        volume: slices of any matrix and pixel spacing.
        size: rows and columns of the new grid.
        where: file to name in the error.

    Raises:
        MedscoreError: ``size`` exceeds the rows and the columns.
    """
    rows, columns = volume.values.shape[1:]
    if size > max(rows, columns):
        raise MedscoreError(
            f"`size` is {size}, the slices are {rows}x{columns}",
            where=where,
            hint=f"use at most {max(rows, columns)}",
        )
    return fit(volume, size)[0]


def fill_of(modality: str) -> float:
    """Value where there is no image: air for CT, zero for MR.

    Args:
        modality: "CT" or "MR".
    """
    return AIR if modality == "CT" else 0.0


def fit_grid(
    shape: tuple[int, ...],
    spacing: tuple[float, float],
    size: int,
    spacing_mm: tuple[float, float] | None = None,
) -> Fit:
    """The map from a grid to a concentric square grid of square pixels.

    Args:
        shape: rows and columns of the source.
        spacing: distance between the rows and between the columns of the source in mm.
        size: rows and columns of the new grid.
        spacing_mm: smallest and largest new pixel spacing in mm; any by default.
    """
    low, high = spacing_mm or (0.0, math.inf)
    extents = [n * mm for n, mm in zip(shape, spacing, strict=True)]
    new = min(max(max(extents) / size, low), high)
    if abs(spacing[0] / spacing[1] - 1) <= SQUARE:  # one ratio, so that square stays square
        spacing = (spacing[0], spacing[0])
        new = min(max(max(shape) * spacing[0] / size, low), high)
    rows, columns = (axis(n, mm, size, new) for n, mm in zip(shape, spacing, strict=True))
    return Fit(rows, columns)


def square_pixels(shape: tuple[int, ...], spacing: tuple[float, float]) -> Fit:
    """The map to the smallest square grid that shows everything in pixels of the finer spacing.

    Args:
        shape: rows and columns of the source.
        spacing: distance between the rows and between the columns of the source in mm.
    """
    fine = min(spacing)
    if max(spacing) / fine - 1 <= SQUARE:
        spacing = (fine, fine)
    sides = [n * mm / fine for n, mm in zip(shape, spacing, strict=True)]
    return fit_grid(shape, spacing, math.ceil(max(sides) - 1e-6), (fine, fine))


def _mapped(
    images: NDArray[np.floating],
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    fill: float,
    down: int | None,
    right: int | None,
) -> NDArray[np.float32]:
    """rows @ images @ columns.T, with ``fill`` around the images.

    Axes with a shift are copied instead: source pixel i to pixel i + shift.
    """
    height, width = images.shape[-2:]
    out = np.full((*images.shape[:-2], len(rows), len(columns)), fill, np.float32)
    top, from_row = _span(down, height, len(rows))
    left, from_column = _span(right, width, len(columns))
    by_row = None if down is not None else rows.astype(np.float32)
    by_column = None if right is not None else columns.astype(np.float32).T.copy()
    for source, target in zip(
        images.reshape(-1, height, width), out.reshape(-1, len(rows), len(columns)), strict=True
    ):
        part = source[from_row, from_column]
        if by_row is None and by_column is None:
            target[top, left] = part
            continue
        part = part.astype(np.float32) - np.float32(fill)
        part = part if by_row is None else by_row @ part
        part = part if by_column is None else part @ by_column
        target[top, left] = part + np.float32(fill)
    return out


def _span(shift: int | None, old: int, new: int) -> tuple[slice, slice]:
    """The part of the new axis that is written, and the part of the old one that it comes from."""
    if shift is None:
        return slice(0, new), slice(0, old)
    first, last = max(shift, 0), min(old + shift, new)
    return slice(first, last), slice(first - shift, last - shift)

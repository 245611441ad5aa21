r"""Images on a finer grid whose means are the pixels of the image, and the field around them.

With the cubic spline s through the pixels x, each pixel is divided into blocks of

.. math:: f = x + \theta\, (s - \bar s), \qquad 0 \le \theta \le 1,

where :math:`\bar s` is the mean of s over the block, so that the mean of f is x. The share
:math:`\theta` is 1 unless values of the block would fall below a bound, as overshoots of the spline
do at the surface of the body; then it is the largest that keeps them above (the limiter of Zhang
and Shu 2010, Eq. 2.7).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medscore.datasets.fit import Fit, fit_grid
from medscore.datasets.volume import AIR

Factor = int | tuple[int, int]
"""New pixels along each side of an old one; of rows and of columns where they differ."""


def refined(
    image: NDArray[np.floating], factor: Factor, lowest: float = -math.inf
) -> NDArray[np.float64]:
    """A smooth image on a finer grid whose means over blocks are exactly the image's pixels.

    Args:
        image: (rows, columns).
        factor: number of new pixels along each side of an old one.
        lowest: bound that the new values keep, and that the image must keep.
    """
    x = np.asarray(image, dtype=np.float64)
    down, along = _pair(factor)
    if down == along == 1:
        return x
    smooth = ndimage.zoom(x, (down, along), order=3, mode="nearest", grid_mode=True)
    detail: NDArray[np.float64] = smooth - spread(block_means(smooth, factor), factor)
    if math.isfinite(lowest):
        rows, columns = x.shape
        deepest = detail.reshape(rows, down, columns, along).min(axis=(1, 3))
        room = x - lowest
        share = np.divide(room, -deepest, out=np.ones_like(x), where=-deepest > room)
        detail *= spread(share, factor)
    detail += spread(x, factor)
    return detail


def block_means(image: NDArray[np.floating], factor: Factor) -> NDArray[Any]:
    """Means over blocks of pixels.

    Args:
        image: (rows, columns), divisible by ``factor``.
        factor: sides of the blocks in pixels.
    """
    down, along = _pair(factor)
    rows, columns = image.shape
    return np.asarray(image.reshape(rows // down, down, columns // along, along).mean(axis=(1, 3)))


def spread(image: NDArray[np.floating], factor: Factor) -> NDArray[Any]:
    """Every pixel repeated over a block.

    Args:
        image: (rows, columns).
        factor: sides of the blocks in pixels.
    """
    down, along = _pair(factor)
    return np.repeat(np.repeat(image, down, axis=0), along, axis=1)


@dataclass(frozen=True)
class WholeField:
    """The map of slices to the square field that :func:`medscore.datasets.fit.reduce` shows.

    Attributes:
        factor: refinement of the slices before they are mapped.
        fit: the map to square pixels, which pads, and takes area means where pixels grow.
    """

    factor: tuple[int, int]
    fit: Fit

    @property
    def side(self) -> int:
        """Rows and columns of the field."""
        return self.fit.shape[0]

    def of(self, hu: NDArray[np.floating]) -> NDArray[np.floating]:
        """A slice (rows, columns) in HU on the field, surrounded by air.

        Args:
            hu: the slice.
        """
        if self.factor == (1, 1):
            return hu if self.fit.trivial else self.fit.apply(hu, AIR)
        return self.fit.apply(refined(np.maximum(hu, AIR), self.factor, AIR), AIR)


def whole_field(shape: tuple[int, ...], spacing: tuple[float, float]) -> WholeField:
    """The field around slices, in square pixels of about the finer of their spacings.

    Square pixels keep their size, or are halved where the slices would not lie in the middle
    otherwise. Other pixels are refined first, so that only area means are taken of them.

    Args:
        shape: rows and columns of the slices.
        spacing: distance between the rows and between the columns in mm.
    """
    extents = [n * mm for n, mm in zip(shape, spacing, strict=True)]
    side = math.ceil(max(extents) / min(spacing) * (1 - 1e-6))
    pixel = max(extents) / side
    fine = tuple(math.ceil(mm / pixel * (1 - 1e-6)) for mm in spacing)
    for halves in (1, 2):
        down, along = (halves * n for n in fine)
        grid = (shape[0] * down, shape[1] * along)
        fit = fit_grid(grid, (spacing[0] / down, spacing[1] / along), halves * side)
        axes = zip((fit.rows, fit.columns), grid, strict=True)
        if all(a.shift is None or (halves * side - n) % 2 == 0 for a, n in axes):
            break
    return WholeField((down, along), fit)


def _pair(factor: Factor) -> tuple[int, int]:
    return (factor, factor) if isinstance(factor, int) else factor

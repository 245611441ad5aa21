r"""Images on a finer grid whose means are the pixels of the image.

With the cubic spline s through the pixels x, each pixel is divided into blocks of

.. math:: f = x + \theta\, (s - \bar s), \qquad 0 \le \theta \le 1,

where :math:`\bar s` is the mean of s over the block, so that the mean of f is x. The share
:math:`\theta` is 1 unless values of the block would fall below a bound, as overshoots of the spline
do at the surface of the body; then it is the largest that keeps them above (the limiter of Zhang
and Shu 2010, Eq. 2.7).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def refined(
    image: NDArray[np.floating], factor: int, lowest: float = -math.inf
) -> NDArray[np.float64]:
    """A smooth image on a finer grid whose means over blocks are exactly the image's pixels.

    Args:
        image: (rows, columns).
        factor: number of new pixels along each side of an old one.
        lowest: bound that the new values keep, and that the image must keep.
    """
    x = np.asarray(image, dtype=np.float64)
    if factor == 1:
        return x
    smooth = ndimage.zoom(x, factor, order=3, mode="nearest", grid_mode=True)
    detail: NDArray[np.float64] = smooth - spread(block_means(smooth, factor), factor)
    if math.isfinite(lowest):
        rows, columns = x.shape
        deepest = detail.reshape(rows, factor, columns, factor).min(axis=(1, 3))
        room = (x - lowest) / np.maximum(-deepest, np.finfo(float).tiny)
        detail *= spread(np.clip(room, 0, 1), factor)
    detail += spread(x, factor)
    return detail


def block_means(image: NDArray[np.floating], factor: int) -> NDArray[Any]:
    """Means over blocks of factor x factor pixels.

    Args:
        image: (rows, columns), divisible by ``factor``.
        factor: side of the blocks in pixels.
    """
    rows, columns = (n // factor for n in image.shape)
    return np.asarray(image.reshape(rows, factor, columns, factor).mean(axis=(1, 3)))


def spread(image: NDArray[np.floating], factor: int) -> NDArray[Any]:
    """Every pixel repeated over a block of factor x factor.

    Args:
        image: (rows, columns).
        factor: side of the blocks in pixels.
    """
    return np.repeat(np.repeat(image, factor, axis=0), factor, axis=1)

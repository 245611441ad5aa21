"""Copies of images with another contrast, from which a test of the contrast is learned.

The intensities within the body are replaced by a function of themselves that is not increasing: an
inversion with a random exponent, which turns T1 into something like T2, or a piecewise linear
function through random values. No image of another contrast is used, so that the test can be
measured on real ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medscore.datasets.collections.slices import FULL
from medscore.likelihood.features import body_of

DEPTHS = (0, 6, 10)
"""Depths in pixels below which a copy is altered, because scalp and brain change independently."""

FALLING = 0.3
"""Largest correlation of the new with the old intensities."""

TRIES = 50
"""Random functions that are drawn until one is not increasing."""


def altered(image: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    """A copy of an image with another contrast, in units of its own 99.5th percentile.

    Args:
        image: slice (H, W) as magnitudes.
        generator: the random generator.
    """
    body = body_of(image)
    depth = ndimage.distance_transform_edt(body)
    limit = generator.choice(DEPTHS)
    inside = depth > limit
    if inside.sum() < 100:
        limit, inside = 0, body
    low, high = np.quantile(image[inside], [0.01, 0.99])
    u = np.clip((image - low) / (high - low + 1e-6), 0, 1.5)
    if generator.random() < 0.5:
        new = np.clip(1 - u, 0, 1) ** generator.uniform(0.7, 2.5)
    else:
        new = _random_function(u, inside, generator)
    share = np.clip((depth - limit) / 2, 0, 1) * inside
    copy = image * (1 - share) + share * new * high
    full = float(np.quantile(copy, FULL))
    return np.asarray(copy / (full if full > 0 else 1.0), dtype=np.float32)


def _random_function(
    u: NDArray[np.floating], inside: NDArray[np.bool_], generator: np.random.Generator
) -> NDArray[np.float64]:
    knots = np.sort([0.0, *generator.uniform(0.15, 0.85, 3), 1.0, 1.5])
    found = 1 - u.astype(np.float64)
    for _ in range(TRIES):
        found = np.interp(u, knots, generator.uniform(0, 1, len(knots)))
        values = found[inside]
        if values.std() > 0.1 and np.corrcoef(values, u[inside])[0, 1] < FALLING:
            break
    return found

r"""Noise levels and Langevin step sizes of NCSNv2 (Song 2022, Techniques 6.1, 6.2 and 6.4).

The sources are section 6.3.1 for the largest level, 6.3.2 for the ratio of the levels, and 6.4 with
Eq. 6.4 for the step size. Levels are in the unit of the data. Techniques 6.3 and 6.5 concern the
network and its training.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr
from torch import Tensor

Values = TypeVar("Values", np.float64, NDArray[np.float64])


def largest_distance(images: Tensor) -> float:
    """The largest Euclidean distance between two images, which Technique 6.1 takes as sigma_1.

    Args:
        images: training images, (n, ...).
    """
    flat = images.flatten(1).float()
    return max(float(torch.cdist(flat[i : i + 64], flat).max()) for i in range(0, len(flat), 64))


def overlap(ratio: float, dimension: int) -> float:
    r"""The probability that a sample of one noise level lies in the shell of the next higher one.

    The shell has the radii within three standard deviations of their mean (Technique 6.2):

    .. math:: \Phi(\sqrt{2D}(\gamma - 1) + 3\gamma) - \Phi(\sqrt{2D}(\gamma - 1) - 3\gamma)

    Args:
        ratio: gamma = sigma_{i-1} / sigma_i of the two levels.
        dimension: number of values D of an image.
    """
    shift = math.sqrt(2 * dimension) * (ratio - 1)
    return float(ndtr(shift + 3 * ratio) - ndtr(shift - 3 * ratio))


def level_ratio(dimension: int, covered: float = 0.5) -> float:
    """The ratio gamma = sigma_{i-1} / sigma_i of the levels with a given overlap, Technique 6.2.

    Args:
        dimension: number of values D of an image.
        covered: required overlap of neighbouring levels.

    Raises:
        ValueError: ``covered`` not between 0 and 0.99, or ``dimension`` below 5, where the shells
            of all levels overlap.
    """
    if not 0 < covered < 0.99 or dimension < 5:
        raise ValueError(
            f"0 < covered < 0.99 and dimension >= 5 are required, got {covered}, {dimension}"
        )
    high = 2.0
    while overlap(high, dimension) > covered:
        high *= 2
    return float(brentq(lambda gamma: overlap(gamma, dimension) - covered, 1.0, high))


def noise_levels(
    sigma_max: float, sigma_min: float, dimension: int, covered: float = 0.5
) -> list[float]:
    """A geometric sequence of noise levels, decreasing, with both ends included, Technique 6.2.

    It has the smallest number of levels whose ratio does not exceed :func:`level_ratio`.

    Args:
        sigma_max: largest level.
        sigma_min: smallest level.
        dimension: number of values D of an image.
        covered: overlap of neighbouring levels, as in :func:`level_ratio`.

    Raises:
        ValueError: not 0 < sigma_min < sigma_max.
    """
    if not 0 < sigma_min < sigma_max:
        raise ValueError(f"0 < sigma_min < sigma_max is required, got {sigma_min}, {sigma_max}")
    steps = math.ceil(math.log(sigma_max / sigma_min) / math.log(level_ratio(dimension, covered)))
    return [sigma_max * (sigma_min / sigma_max) ** (i / steps) for i in range(steps + 1)]


def variance_left(relative: float, steps: int, ratio: float) -> float:
    r"""The variance after T Langevin steps at a noise level relative to that level's, Eq. 6.4.

    Args:
        relative: step size relative to the smallest level's variance, :math:`\epsilon/\sigma_L^2`.
        steps: number of Langevin steps T.
        ratio: ratio gamma of the levels.

    Returns:
        s_T^2 / sigma_i^2.
    """
    return float(_left(np.float64(relative), steps, ratio))


def relative_step(steps: int, ratio: float) -> float:
    r"""The step size for which Eq. 6.4 is closest to 1, found by grid search, Technique 6.4.

    The convention is that of Alg. 6.1; the epsilon of Alg. 5.1 is twice as large.

    Args:
        steps: number of Langevin steps T per level.
        ratio: ratio gamma of the levels.

    Returns:
        :math:`\epsilon / \sigma_L^2`.

    Raises:
        ValueError: ``steps`` below 1, or ``ratio`` not above 1.
    """
    if steps < 1 or ratio <= 1:
        raise ValueError(f"steps >= 1 and ratio > 1 are required, got {steps}, {ratio}")
    grid = np.geomspace(1e-8, 0.999, 40_001)
    return float(grid[np.abs(_left(grid, steps, ratio) - 1).argmin()])


def _left(relative: Values, steps: int, ratio: float) -> Values:
    """Eq. 6.4 for one step size or an array of them."""
    decay = 1 - relative
    rest = 2 * relative / (1 - decay**2)
    return decay ** (2 * steps) * (ratio**2 - rest) + rest

r"""Noise levels and Langevin steps from data and budget: NCSNv2's Techniques 1, 2 and 4.

Song et al. 2022, section 6.3.1 (Technique 6.1), 6.3.2 (6.2) and 6.4 (6.4, Eq. 6.4). Levels are in
the unit of the data. Techniques 3 and 5 concern the network and its training.
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
    """sigma_1: the largest Euclidean distance between two of the images (n, ...), Technique 1."""
    flat = images.flatten(1).float()
    return max(float(torch.cdist(flat[i : i + 64], flat).max()) for i in range(0, len(flat), 64))


def overlap(ratio: float, dimension: int) -> float:
    r"""How much of a level's radii, within three deviations, the next level covers.

    .. math:: \Phi(\sqrt{2D}(\gamma - 1) + 3\gamma) - \Phi(\sqrt{2D}(\gamma - 1) - 3\gamma)
    """
    shift = math.sqrt(2 * dimension) * (ratio - 1)
    return float(ndtr(shift + 3 * ratio) - ndtr(shift - 3 * ratio))


def level_ratio(dimension: int, covered: float = 0.5) -> float:
    """gamma = sigma_{i-1} / sigma_i at which :func:`overlap` is ``covered``, Technique 2.

    Raises:
        ValueError: ``covered`` not between 0 and 0.99, or ``dimension`` below 5, where three
            deviations of a level's radii reach any other level.
    """
    if not 0 < covered < 0.99 or dimension < 5:
        raise ValueError(f"0 < covered < 0.99 and dimension >= 5, got {covered}, {dimension}")
    high = 2.0
    while overlap(high, dimension) > covered:
        high *= 2
    return float(brentq(lambda gamma: overlap(gamma, dimension) - covered, 1.0, high))


def noise_levels(
    sigma_max: float, sigma_min: float, dimension: int, covered: float = 0.5
) -> list[float]:
    """The geometric ladder from ``sigma_max`` down to ``sigma_min``, both included, Technique 2.

    It has the fewest levels whose ratio is not above :func:`level_ratio`.

    Raises:
        ValueError: not 0 < sigma_min < sigma_max.
    """
    if not 0 < sigma_min < sigma_max:
        raise ValueError(f"0 < sigma_min < sigma_max, got {sigma_min}, {sigma_max}")
    steps = math.ceil(math.log(sigma_max / sigma_min) / math.log(level_ratio(dimension, covered)))
    return [sigma_max * (sigma_min / sigma_max) ** (i / steps) for i in range(steps + 1)]


def variance_left(relative: float, steps: int, ratio: float) -> float:
    r"""s_T^2 / sigma_i^2 of Eq. 6.4: the variance after T Langevin steps at a level, over its own.

    Args:
        relative: :math:`\epsilon / \sigma_L^2`. steps: T. ratio: gamma.
    """
    return float(_left(np.float64(relative), steps, ratio))


def relative_step(steps: int, ratio: float) -> float:
    r""":math:`\epsilon / \sigma_L^2` that brings Eq. 6.4 closest to 1, by grid search, Technique 4.

    epsilon is that of Alg. 6.1; Alg. 5.1's is twice as large.

    Raises:
        ValueError: ``steps`` below 1, or ``ratio`` not above 1.
    """
    if steps < 1 or ratio <= 1:
        raise ValueError(f"steps >= 1 and ratio > 1, got {steps}, {ratio}")
    grid = np.geomspace(1e-8, 0.999, 40_001)
    return float(grid[np.abs(_left(grid, steps, ratio) - 1).argmin()])


def _left(relative: Values, steps: int, ratio: float) -> Values:
    """Eq. 6.4 for one step size or many."""
    decay = 1 - relative
    rest = 2 * relative / (1 - decay**2)
    return decay ** (2 * steps) * (ratio**2 - rest) + rest

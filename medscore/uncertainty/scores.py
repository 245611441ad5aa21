"""Scores of posterior samples and of intervals against a known truth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def crps(truth: NDArray[Any], samples: NDArray[Any]) -> NDArray[np.float64]:
    r"""The fair continuous ranked probability score of samples, in the unit of the values.

    .. math:: \frac{1}{K} \sum_k |x_k - x| - \frac{1}{2 K (K - 1)} \sum_{k, l} |x_k - x_l|

    It is unbiased for every number of samples K, so that methods with different K compare (Ferro
    2014); smaller is better. It can be negative at a single pixel. Of one sample it is the absolute
    error, without the second term.

    Args:
        truth: true values of any shape.
        samples: (K, ...) samples of them.
    """
    values = np.sort(np.asarray(samples, dtype=np.float64), axis=0)
    count = len(values)
    distance: NDArray[np.float64] = np.abs(values - np.asarray(truth)).mean(axis=0)
    if count == 1:
        return distance
    # the sum of |x_k - x_l| over pairs k < l of sorted values
    weights = 2 * np.arange(count) - count + 1
    spread: NDArray[np.float64] = np.tensordot(weights, values, 1) / (count * (count - 1))
    return distance - spread


def coverage_by_width(
    inside: NDArray[np.bool_], width: NDArray[Any], parts: int = 5
) -> tuple[float, ...]:
    """The share of truths inside their intervals, in equal parts of the pixels by width.

    Args:
        inside: (n,) whether the interval holds the truth.
        width: (n,) width of the interval.
        parts: number of parts, from the narrowest to the widest.

    Raises:
        ValueError: there are fewer pixels than parts.
    """
    if len(inside) < parts:
        raise ValueError(f"{len(inside)} intervals make no {parts} parts")
    order = np.argsort(width, kind="stable")
    return tuple(float(part.mean()) for part in np.array_split(inside[order], parts))


def correlation(std: NDArray[Any], error: NDArray[Any]) -> float:
    r"""Pearson's correlation of the predicted deviation with \|error\|; 0 where one is constant.

    Args:
        std: (n,) standard deviations.
        error: (n,) errors.
    """
    size = np.abs(error)
    if np.ptp(std) == 0 or np.ptp(size) == 0:
        return 0.0
    return float(np.corrcoef(std, size)[0, 1])

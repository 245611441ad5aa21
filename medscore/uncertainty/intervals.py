r"""Prediction intervals from a few posterior samples.

If the truth is one more draw of the posterior and the values of a pixel are normal, then with the
mean m and the standard deviation s (with K - 1) of K samples

.. math:: \frac{x - m}{s \sqrt{1 + 1 / K}} \sim t_{K-1},

so that :math:`m \pm t_{K-1, (1 + level) / 2}\, s \sqrt{1 + 1/K}` holds the truth with probability
``level`` for every K (Hahn and Meeker 1991, 4.7). Of two samples the multiple of s is large,
because they say little about the width.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from medscore.errors import MedscoreError
from medscore.numeric import is_number

LEVEL = 0.9
"""Default probability that an interval holds the truth."""


def check_level(level: Any, name: str = "interval") -> float:
    """The probability of an interval.

    Args:
        level: the probability.
        name: name of the parameter, for messages.

    Raises:
        MedscoreError: it is no number between 0 and 1.
    """
    if not is_number(level) or not 0 < float(level) < 1:
        raise MedscoreError(
            f"`{name}` is {level!r:.40}", hint="use a number between 0 and 1, such as 0.9"
        )
    return float(level)


def student_multiple(level: float, samples: int) -> float:
    """The multiple t of the predictive deviation that an interval extends to either side.

    Args:
        level: probability of the interval.
        samples: number of samples K, two or more.

    Raises:
        ValueError: there are fewer than two samples.
    """
    if samples < 2:
        raise ValueError(f"{samples} sample(s) have no deviation")
    return float(stdtrit(samples - 1, (1 + level) / 2))


def predictive_deviation(std: NDArray[Any], samples: int) -> NDArray[Any]:
    """s sqrt(1 + 1 / K): the deviation of a further draw from the mean of the samples.

    Args:
        std: standard deviation of the samples with K - 1, of any shape.
        samples: number of samples K.
    """
    found: NDArray[Any] = np.asarray(std) * math.sqrt(1 + 1 / samples)
    return found


def ratios(error: NDArray[Any], std: NDArray[Any], samples: int) -> NDArray[np.float64]:
    r"""\|x - m\| over the predictive deviation: the multiple at which an interval holds the truth.

    It is 0 where there is no error, and infinite for an error where all samples are equal.

    Args:
        error: truth minus mean, of any shape.
        std: standard deviation of the samples with K - 1.
        samples: number of samples K.
    """
    distance = np.abs(np.asarray(error, dtype=np.float64))
    deviation = predictive_deviation(np.asarray(std, dtype=np.float64), samples)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(distance == 0, 0.0, distance / deviation)

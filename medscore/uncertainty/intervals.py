r"""Prediction intervals from a few posterior samples.

If the truth is one more draw of the posterior and the values of a pixel are normal, then with the
mean m and the standard deviation s (with K - 1) of K samples

.. math:: \frac{x - m}{s \sqrt{1 + 1 / K}} \sim t_{K-1},

so that :math:`m \pm t_{K-1, (1 + level) / 2}\, s \sqrt{1 + 1/K}` holds the truth with probability
``level`` for every K (Hahn and Meeker 1991, 4.7). Of two samples the multiple of s is large,
because they say little about the width.

Samples may be drawn in pairs whose noise has opposite signs (antithetic variates, Hammersley and
Morton 1956). Where a sample is linear in its noise, each pair has the posterior mean in its middle,
so m is exact, and

.. math:: s^2 = \operatorname{mean}_j \left(\frac{x_{2j} - x_{2j+1}}{2}\right)^2
          + \operatorname{var}_j \frac{x_{2j} + x_{2j+1}}{2}, \qquad
          \frac{x - m}{s} \sim t_{K/2}.

The second term is what nonlinearity leaves; with it s^2 has no bias.

Calibrated intervals have a moderated deviation in place of s, because of few samples it is small or
large by chance, so that narrow intervals would hold too few pixels and wide ones too many:

.. math:: \tilde s^2 = \tfrac12 (s^2 + G s^2) + c^2\, \overline{s^2}

with a Gaussian filter G within the body and the mean over the body, as empirical Bayes estimates
shrink variances (Smyth 2004). Width of the filter and c were chosen on calibration patients.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import stdtrit

from medscore.errors import MedscoreError
from medscore.numeric import is_number

LEVEL = 0.9
"""Default probability that an interval holds the truth."""


FILTER, SHARE = 1.0, 0.15
"""Standard deviation of G in pixels, and c."""


def in_pairs(asked: bool, samples: int) -> bool:
    """Whether samples are drawn in pairs: an odd number of them is drawn independently.

    Args:
        asked: whether they shall be.
        samples: number of samples.
    """
    return asked and samples % 2 == 0


def deviation(samples: NDArray[Any], axis: int, *, pairs: bool = False) -> NDArray[Any]:
    """The standard deviation s of samples.

    Args:
        samples: two samples or more.
        axis: axis of the samples.
        pairs: whether samples 2j and 2j + 1 are a pair.
    """
    if not pairs:
        return np.asarray(samples.std(axis=axis, ddof=1))
    x = np.moveaxis(samples, axis, 0)
    half, middle = (x[::2] - x[1::2]) / 2, (x[::2] + x[1::2]) / 2
    variance = np.square(half).mean(0)
    if len(middle) > 1:
        variance = variance + middle.var(axis=0, ddof=1)
    return np.asarray(np.sqrt(variance))


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


def student_multiple(level: float, samples: int, *, pairs: bool = False) -> float:
    """The multiple t of the predictive deviation that an interval extends to either side.

    Args:
        level: probability of the interval.
        samples: number of samples K, two or more.
        pairs: whether they are pairs.

    Raises:
        ValueError: there are fewer than two samples.
    """
    if samples < 2:
        raise ValueError(f"{samples} sample(s) have no deviation")
    return float(stdtrit(samples // 2 if pairs else samples - 1, (1 + level) / 2))


def moderated_deviation(std: NDArray[Any], body: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The moderated deviation of slices, (slices, H, W).

    Args:
        std: standard deviation of the samples with K - 1, (slices, H, W).
        body: pixels (slices, H, W) of the body; at least one in each slice.
    """
    variance = np.asarray(std, dtype=np.float64) ** 2
    inside = body.astype(np.float64)
    weight = gaussian_filter(inside, (0, FILTER, FILTER))
    mean = gaussian_filter(variance * inside, (0, FILTER, FILTER)) / np.maximum(weight, 1e-6)
    local = np.where(body, mean, variance)
    overall = (variance * inside).sum((1, 2)) / np.maximum(inside.sum((1, 2)), 1)
    found: NDArray[np.float64] = np.sqrt((variance + local) / 2 + SHARE**2 * overall[:, None, None])
    return found


def predictive_deviation(std: NDArray[Any], samples: int, *, pairs: bool = False) -> NDArray[Any]:
    """The deviation of a further draw from the mean of the samples: s sqrt(1 + 1 / K), or s.

    Args:
        std: standard deviation s of the samples, of any shape.
        samples: number of samples K.
        pairs: whether they are pairs.
    """
    return np.asarray(np.asarray(std) * (1.0 if pairs else math.sqrt(1 + 1 / samples)))


def ratios(
    error: NDArray[Any], std: NDArray[Any], samples: int, *, pairs: bool = False
) -> NDArray[np.float64]:
    r"""\|x - m\| over the predictive deviation: the multiple at which an interval holds the truth.

    It is 0 where there is no error, and infinite for an error where all samples are equal.

    Args:
        error: truth minus mean, of any shape.
        std: standard deviation s of the samples.
        samples: number of samples K.
        pairs: whether they are pairs.
    """
    distance = np.abs(np.asarray(error, dtype=np.float64))
    width = predictive_deviation(np.asarray(std, dtype=np.float64), samples, pairs=pairs)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(distance == 0, 0.0, distance / width)

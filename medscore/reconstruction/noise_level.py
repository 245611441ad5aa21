"""The noise of an image: its standard deviation, on the image's grid and in the prior's range."""

from __future__ import annotations

import numpy as np
import pywt
import torch
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter

from medscore.datasets.collections.slices import FULL
from medscore.datasets.fit import Fit
from medscore.datasets.volume import AIR
from medscore.domain import ImageDomain
from medscore.errors import MedscoreError
from medscore.numeric import is_number

ESTIMATED = "estimate"
"""Asks for an estimate of the noise from the image."""

WEAK = 0.1
"""Magnitudes below this share of the 99.5th percentile count as background."""

REACH = 9
"""Side in pixels of the surroundings of a detail, which must lie in the foreground."""

FEWEST = 100
"""Smallest number of details in the foreground; with fewer, all count."""

ROUNDING = 1e-6
"""Noise, relative to the range of the values, below which there is none."""

NORMAL = 0.6745
"""Median of the magnitude of a standard normal number."""


def level_of(
    noise_std: float | str, values: NDArray[np.float32], domain: ImageDomain, fit: Fit | None
) -> float:
    """The standard deviation of the noise on the prior's grid.

    The estimate is the median over the slices of :func:`estimated`.

    Args:
        noise_std: that on the grid of the image, or "estimate".
        values: the slices on the prior's grid, (slices, H, W).
        domain: image domain of the prior.
        fit: the fit of the image to the prior's grid; None if it is the same.

    Raises:
        MedscoreError: it is no positive number, or the estimate is zero.
    """
    if noise_std == ESTIMATED:
        found = float(np.median([estimated(image, domain.quantity == "HU") for image in values]))
        if found <= ROUNDING * float(np.ptp(values)):
            raise MedscoreError(
                "the noise of the image cannot be estimated: its finest details are zero",
                hint="set `noise_std` to its standard deviation",
            )
        return found
    if not is_number(noise_std) or not 0 < noise_std < float("inf"):
        raise MedscoreError(
            f"`noise_std` is {noise_std!r:.60}",
            hint="use a positive number in the unit of the image, or estimate",
        )
    return float(noise_std) * (1.0 if fit is None else _kept(fit))


def estimated(image: NDArray[np.float32], hu: bool) -> float:
    """The standard deviation of white noise, from the finest wavelets (Donoho and Johnstone 1994).

    It is the median magnitude of the diagonal details over 0.6745. Details of the background are
    left out, because its noise is cut off: HU are not read below those of air, and magnitudes are
    positive.

    Args:
        image: one slice, (H, W).
        hu: whether the values are HU, and not magnitudes.
    """
    _, (_, _, details) = pywt.dwt2(image.astype(np.float64), "db2")
    floor = AIR if hu else WEAK * float(np.quantile(image, FULL))
    inside = minimum_filter(image > floor, REACH)[::2, ::2]
    rows, columns = inside.shape
    at = details[1 : rows + 1, 1 : columns + 1]
    chosen = at[inside[: at.shape[0], : at.shape[1]]]
    chosen = chosen if len(chosen) >= FEWEST else details.ravel()
    return float(np.median(np.abs(chosen))) / NORMAL


def _kept(fit: Fit) -> float:
    """The standard deviation of white noise after a fit, relative to that before."""
    gains = []
    for axis in (fit.rows, fit.columns):
        power = np.square(axis.down).sum(1)
        gains.append(float(np.median(power[power > 0])))
    return float(np.sqrt(gains[0] * gains[1]))


def scales_of(
    values: NDArray[np.float32], domain: ImageDomain
) -> tuple[float, NDArray[np.float64]]:
    """The affine map of slices to the prior's range, x = (value - low) / scale.

    Magnitudes are divided by the 99.5th percentile of their slice, as in training.

    Args:
        values: slices (slices, H, W) in HU or as magnitudes.
        domain: image domain of the prior.

    Returns:
        The value low, and the scale of each slice.
    """
    if domain.quantity == "HU":
        return domain.low, np.full(len(values), domain.scale)
    full = torch.quantile(torch.from_numpy(values).flatten(1).float(), FULL, dim=1).double().numpy()
    return 0.0, np.where(full > 0, full, 1.0) * domain.scale

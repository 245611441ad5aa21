"""Refusal of projections whose values are not what they are said to be, such as raw counts.

A logarithm, a sign or a flat field that was forgotten leaves values that no scan has. Real data
pass with their noise: the limits apply to all but the outermost hundredth of the values, so hot
pixels, zingers and rays through metal are not judged, and they leave room for calibration.

- A transmission is at most 1. Photon noise, drift of the tube and edge enhancement exceed that by
  some tenths in single rays; counts, grey values and per cent exceed it many times. Limit: 2.
- A line integral above 25 means 1e-11 of the photons, and scans have up to 1e8 per ray.
- The mean over many rays of a line integral is not negative. Noise around zero is symmetric, so the
  values are refused only where the negative ones outweigh the positive ones four times.
- Air at both ends of the detector reads 1 as a transmission and 0 as a line integral. Line
  integrals whose largest values are the same at both ends in every view (up to a tenth), and less
  in the middle, are transmissions, scaled counts or logarithms of counts; transmissions that are
  about 0 at both ends and more in the middle are line integrals, and those that are above 1.25 at
  both ends in every view were not divided by the flat field.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medscore.errors import MedscoreError

Unit = Literal["line-integrals", "transmission"]
"""What the values of projections are."""

SAMPLE = 1_000_000
"""Number of values that are looked at."""


def check_unit(data: NDArray[Any], unit: Unit, where: str | Path) -> None:
    """Refuse projections whose values cannot be in their unit.

    Args:
        data: finite values (slices, views, detectors).
        unit: their unit.
        where: file to name in the error.

    Raises:
        MedscoreError: the values are those of another unit, which the hint names.
    """
    if unit == "line-integrals":
        check_line_integrals(data, where)
    ends, middle = _profile(data)
    high = _range(data)[1]
    if unit == "transmission":
        if high > 2:
            raise MedscoreError(
                f"transmissions are at most 1, and one in a hundred values exceeds {high:.4g}",
                where=where,
                hint="divide counts by the flat field, or set `values` to line-integrals if they "
                "are logarithms",
            )
        if ends.size and ends.max() < 0.05 and middle > max(0.1, 4 * float(ends.max())):
            raise MedscoreError(
                f"almost nothing is transmitted at both ends of the detector and {middle:.2g} in "
                "its middle: these look like line integrals",
                where=where,
                hint="set `values` to line-integrals",
            )
        if ends.size and ends.min() > 1.25:
            raise MedscoreError(
                f"transmissions are at most 1, and the ends of the detector read {ends.min():.4g} "
                "or more in every view",
                where=where,
                hint="divide them by the flat field",
            )
    elif ends.size:
        air = float(np.median(ends))
        spread = float(np.abs(ends - air).max())
        scaled = air > 0.1 and spread < 0.1 * air and middle < 0.8 * air
        logarithmic = air > 1.5 and spread < 0.1 and middle < air - 0.3
        if (scaled or logarithmic) and high < 1.5 * air:
            one = abs(air - 1) < 0.1
            raise MedscoreError(
                f"the ends of the detector read {air:.3g} in every view and its middle "
                f"{middle:.2g}: these look like {'transmissions' if one else 'counts'}"
                f"{'' if one else ', scaled or logarithmic'}",
                where=where,
                hint="set `values` to transmission"
                if one
                else "use -log(counts / flat field), or counts / flat field as transmission",
            )


def check_line_integrals(data: NDArray[Any], where: str | Path | None = None) -> None:
    """Refuse values that no line integrals of attenuation have.

    Args:
        data: finite values of any shape.
        where: file to name in the error.

    Raises:
        MedscoreError: they are too large, or negative; the hint names the likely cause.
    """
    low, high = _range(data)
    if high > 25:
        raise MedscoreError(
            f"one in a hundred line integrals exceeds {high:.4g}, which no detector can measure: "
            "these look like counts",
            where=where,
            hint="divide them by the flat field, and take the negative logarithm or set `values` "
            "to transmission; or set `values` to counts with flat, or scale for another unit",
        )
    if low < -0.1 and -low > 4 * high:
        raise MedscoreError(
            f"line integrals are not negative, and these go down to {low:.4g}",
            where=where,
            hint="change their sign, or check the flat field",
        )


def _range(data: NDArray[Any]) -> tuple[float, float]:
    """All but the lowest and the highest hundredth of the values."""
    values = data.ravel()[:: max(1, data.size // SAMPLE)]
    low, high = np.quantile(values, (0.01, 0.99))
    return float(low), float(high)


def _profile(data: NDArray[Any]) -> tuple[NDArray[Any], float]:
    """Medians at the two ends of the detector of each view, flat, and in its middle."""
    detectors = data.shape[-1]
    width = detectors // 32
    if not width:
        return np.empty(0), 0.0
    some = data[:, :: max(1, data.shape[1] // 64)]
    ends = [np.median(part, axis=-1) for part in (some[..., :width], some[..., -width:])]
    middle = some[..., 3 * detectors // 8 : 5 * detectors // 8]
    return np.concatenate([part.ravel() for part in ends]), float(np.median(middle))

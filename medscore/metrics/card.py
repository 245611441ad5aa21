"""A metric card, which states what a mean quality means, beside every result.

It holds the convention, the reference, the number of values and, for each metric, the mean, the
standard deviation and the 95 % percentile-bootstrap interval of the mean (Efron & Tibshirani 1993,
ch. 13). Slices of one patient are correlated: if the patients are given, the bootstrap draws whole
patients (Davison & Hinkley 1997, 3.8), so that the interval holds for new patients. For few values
the interval is too short: with 40 normal values it covers 94 %, with 10 about 90 %.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

from medscore.metrics.image_quality import Convention, Quality

RESAMPLES = 10_000
"""Bootstrap draws."""

LEVEL = 0.95
"""Confidence level of the intervals."""


@dataclass(frozen=True)
class Estimate:
    """Statistics of a metric over several values, in its unit.

    Attributes:
        mean: mean; infinite if a value is.
        std: standard deviation with n - 1; ``None`` for one value, or if a value is infinite.
        interval: interval of the mean; ``None`` for fewer than two draws, or if a value is
            infinite.
    """

    mean: float
    std: float | None
    interval: tuple[float, float] | None

    def record(self) -> dict[str, Any]:
        """Content for JSON, which has no infinity: an infinite mean is null."""
        return {
            "mean": _finite(self.mean),
            "std": self.std,
            "interval": None if self.interval is None else list(self.interval),
        }


@dataclass(frozen=True)
class Card:
    """Meaning of the numbers of a result.

    Attributes:
        convention: how images were compared.
        target: the reference in words.
        count: number of values: slices or volumes, by the convention.
        groups: number of patients that were drawn whole; ``None`` if values were drawn singly.
        seed: seed of the bootstrap.
        psnr: peak signal-to-noise ratio in dB.
        ssim: structural similarity.
        nmse: normalised mean squared error.
    """

    convention: Convention
    target: str
    count: int
    groups: int | None
    seed: int
    psnr: Estimate
    ssim: Estimate
    nmse: Estimate

    def record(self) -> dict[str, Any]:
        """Content for JSON."""
        fields = asdict(self.convention)
        drawn = f"{self.convention.over}s" if self.groups is None else "whole patients"
        return {
            "convention": str(self.convention),
            "fields": fields | {"high": _finite(self.convention.high)},
            "roi": self.convention.roi_words,
            "range": self.convention.range_words,
            "target": self.target,
            "count": self.count,
            "groups": self.groups,
            "std": "with n - 1",
            "interval": f"{LEVEL:.0%} of the mean, percentile bootstrap, {RESAMPLES} draws of "
            f"{drawn}, seed {self.seed}",
            "psnr": {"unit": "dB", **self.psnr.record()},
            "ssim": self.ssim.record(),
            "nmse": self.nmse.record(),
        }


def card(
    values: Sequence[Quality],
    convention: Convention,
    *,
    target: str,
    groups: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> Card:
    """Summarise values of :func:`medscore.metrics.image_quality.qualities`.

    Args:
        values: quality of each slice or volume.
        convention: how images were compared.
        target: the reference in words.
        groups: patient of each value, to draw whole patients.
        seed: seed of the bootstrap, which is the same for all three metrics.

    Raises:
        ValueError: there are no values, one is NaN, or the groups differ in number.
    """
    psnr, ssim, nmse = (
        _estimate(np.array([getattr(q, name) for q in values], dtype=float), groups, seed)
        for name in ("psnr", "ssim", "nmse")
    )
    patients = None if groups is None else len(set(groups))
    return Card(convention, target, len(values), patients, seed, psnr, ssim, nmse)


def mean_interval(
    values: NDArray[np.float64], groups: Sequence[Hashable] | None = None, *, seed: int = 0
) -> tuple[float, float] | None:
    """95 % percentile-bootstrap interval of the mean; ``None`` for fewer than two draws.

    Args:
        values: (n,) finite values.
        groups: group of each value; a draw takes all values of a group.
        seed: seed of the bootstrap.

    Raises:
        ValueError: the groups differ in number from the values.
    """
    names = range(len(values)) if groups is None else groups
    if len(names) != len(values):
        raise ValueError(f"{len(names)} groups for {len(values)} values")
    place = {name: k for k, name in enumerate(dict.fromkeys(names))}
    index = np.array([place[name] for name in names], dtype=int)
    sums, counts = np.bincount(index, values), np.bincount(index)
    if len(place) < 2:
        return None
    found = bootstrap(
        (sums, counts),
        lambda sums, counts, axis: sums.sum(axis) / counts.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, 2**22 // len(place)),  # bounds the memory, changes no draw
        confidence_level=LEVEL,
        method="percentile",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def _estimate(
    values: NDArray[np.float64], groups: Sequence[Hashable] | None, seed: int
) -> Estimate:
    if not len(values) or np.isnan(values).any():
        raise ValueError(f"no card of {len(values)} values, {int(np.isnan(values).sum())} NaN")
    if not np.isfinite(values).all():
        return Estimate(float(values.mean()), None, None)
    std = float(values.std(ddof=1)) if len(values) > 1 else None
    return Estimate(float(values.mean()), std, mean_interval(values, groups, seed=seed))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

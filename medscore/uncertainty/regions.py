"""Means and volumes of regions, with intervals from posterior samples.

Each sample gives one value of a region, such as its mean; the interval is the prediction interval
of these values (:mod:`medscore.uncertainty.intervals`), so that correlations between pixels count.
The slices of a volume are drawn independently of each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscore.uncertainty.intervals import deviation, predictive_deviation


@dataclass(frozen=True)
class Estimate:
    """A number of a region with its interval.

    Attributes:
        mean: mean over the samples.
        std: standard deviation over the samples.
        low: lower end of the interval.
        high: upper end of the interval.
    """

    mean: float
    std: float
    low: float
    high: float


@dataclass(frozen=True)
class Region:
    """A region of a reconstruction.

    Attributes:
        label: its value in the label image.
        pixels: number of pixels.
        volume_ml: its volume in millilitres.
        mean: mean of the image over the region, in HU or as a magnitude.
        above: volume of the pixels of the region above a threshold, in millilitres, if asked for.
    """

    label: int
    pixels: int
    volume_ml: float
    mean: Estimate
    above: Estimate | None = None

    def row(self) -> dict[str, Any]:
        """The region in one row of a table."""
        row = {"label": self.label, "pixels": self.pixels, "volume_ml": round(self.volume_ml, 6)}
        for name, found in (("", self.mean), ("above_ml_", self.above)):
            if found is not None:
                row |= {f"{name}{key}": float(f"{v:.6g}") for key, v in vars(found).items()}
        return row


def sample_means(
    samples: NDArray[Any], labels: NDArray[np.integer]
) -> tuple[NDArray[np.integer], NDArray[np.int64], NDArray[np.float64]]:
    """The mean of every region in every sample.

    Args:
        samples: (slices, samples, H, W).
        labels: (slices, H, W); 0 is no region.

    Returns:
        The labels (n,) in increasing order, their numbers of pixels (n,) and the means
        (n, samples).
    """
    names, place = np.unique(labels, return_inverse=True)
    place = place.ravel()
    count = np.bincount(place, minlength=len(names))
    sums = np.stack([
        np.bincount(place, samples[:, k].ravel().astype(np.float64), minlength=len(names))
        for k in range(samples.shape[1])
    ], axis=1)  # fmt: skip
    kept = names != 0
    return names[kept], count[kept], sums[kept] / count[kept, None]


def regions_of(
    samples: NDArray[np.float32],
    labels: NDArray[np.integer],
    pixel_ml: float,
    multiple: float,
    above: float | None = None,
    *,
    pairs: bool = False,
) -> tuple[Region, ...]:
    """The regions of a label image, in the order of their labels.

    Args:
        samples: (slices, samples, H, W), in HU or as magnitudes.
        labels: (slices, H, W); 0 is no region.
        pixel_ml: volume of a pixel in millilitres.
        multiple: multiple of the predictive deviation that the intervals extend to either side.
        above: value above which the volume of a region is measured.
        pairs: whether samples 2j and 2j + 1 are a pair with opposite noise.
    """
    names, counts, means = sample_means(samples, labels)
    shares = None if above is None else sample_means(samples > above, labels)[2]
    found = []
    for index, (name, count) in enumerate(zip(names, counts, strict=True)):
        volume, part = float(count) * pixel_ml, None
        if shares is not None:
            part = _estimate(volume * shares[index], multiple, pairs, 0.0, volume)
        mean = _estimate(means[index], multiple, pairs)
        found.append(Region(int(name), int(count), volume, mean, part))
    return tuple(found)


def _estimate(
    values: NDArray[np.float64],
    multiple: float,
    pairs: bool,
    low: float = -np.inf,
    high: float = np.inf,
) -> Estimate:
    """The estimate of (samples,) values, with its interval within [low, high]."""
    mean, std = float(values.mean()), deviation(values, 0, pairs=pairs)
    half = multiple * float(predictive_deviation(std, len(values), pairs=pairs))
    return Estimate(mean, float(std), max(mean - half, low), min(mean + half, high))

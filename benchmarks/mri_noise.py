"""Noise of magnitude slices, as their air shows it: the noise that the configurations state.

A magnitude without signal is |n| for complex noise n of standard deviation sigma in its real and
imaginary part each (Rayleigh), so that sigma is the root mean square of the air over sqrt(2). The
air is what lies outside of the closed, filled and widened region above ``DARK`` of the brightness.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from number import Number
from numpy.typing import NDArray
from scipy import ndimage

from medscore.datasets.collections.slices import FULL

FILES = (
    "mri/tcga-lgg-slices-train.npz",
    "mri/tcga-lgg-slices-validation.npz",
    "mri/sts001-thigh-t2fs-384.npz",
    "mri/cmbcrc06489-abdomen-t2-512.npz",
)
"""Archives of magnitude slices that the comparisons use, in the data folder."""

DARK, CLOSE, MARGIN = 0.15, 3, 6
"""Share of the brightness below which a pixel may be air; pixels by which gaps of the body are
closed, and by which it is widened."""


def noise_numbers(data: Path) -> list[Number]:
    """The noise standard deviation by archive, the median over its slices.

    Args:
        data: folder of the development data.
    """
    found = []
    for name in FILES:
        pairs = [air_noise(image.astype(float)) for image in np.load(data / name)["image"]]
        std, share = np.nanmedian(np.array(pairs), axis=0)
        title = f"noise of {Path(name).stem}"
        found.append(Number(f"{title}, in the unit of the file", float(std)))
        found.append(Number(f"{title}, in the prior's range", float(share)))
    return found


def air_noise(image: NDArray[np.float64]) -> tuple[float, float]:
    """Noise standard deviation of a magnitude slice, in its unit and as a share of its brightness.

    Both are NaN for a slice without air.

    Args:
        image: the slice (H, W).
    """
    full = float(np.quantile(image, FULL))
    body = ndimage.binary_closing(image >= DARK * full, iterations=CLOSE)
    body = ndimage.binary_dilation(ndimage.binary_fill_holes(body), iterations=MARGIN)
    air = image[~body]
    if not air.size:
        return np.nan, np.nan
    std = float(np.sqrt(np.mean(air**2) / 2))
    return std, std / full

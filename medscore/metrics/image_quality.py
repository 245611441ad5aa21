r"""PSNR, SSIM and NMSE under a named convention.

An image x and its reference r are mapped to u = (x - low) / range, so the data range is 1. Over the
pixels of the region,

.. math:: PSNR = -10 \log_{10} \overline{(u_x - u_r)^2}, \quad
          NMSE = \textstyle\sum (u_x - u_r)^2 / \sum u_r^2,

and SSIM (Wang et al. 2004) is the mean of its map over the pixels whose whole window lies in the
region; for a full image, this is scikit-image's number. NMSE uses values relative to ``low``,
because |r|^2 has no meaning for HU, which are negative in air.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion
from skimage.metrics import structural_similarity

from medscore.errors import MedscoreError
from medscore.metrics.convention import (
    CONVENTIONS,
    CT_CONVENTION,
    WINDOWS,
    Convention,
    convention_of,
)

__all__ = [
    "CONVENTIONS",
    "CT_CONVENTION",
    "Convention",
    "Quality",
    "average",
    "qualities",
    "quality",
]


@dataclass(frozen=True)
class Quality:
    """Similarity of an image to its reference.

    Attributes:
        psnr: peak signal-to-noise ratio in dB; infinite for identical images.
        ssim: structural similarity, at most 1.
        nmse: normalised mean squared error, 0 or more; infinite if the reference is ``low``
            throughout and the image is not.
    """

    psnr: float
    ssim: float
    nmse: float


def quality(
    images: NDArray[np.floating],
    reference: NDArray[np.floating],
    convention: Convention | str = "ct",
    metal: NDArray[np.bool_] | None = None,
) -> Quality:
    """Compare images with a reference: the mean over slices, or the numbers of the volume.

    Args:
        images: (n, H, W) images in the unit of the convention.
        reference: (n, H, W) reference.
        convention: convention, or its name in
            :data:`medscore.metrics.convention.CONVENTIONS`.
        metal: see :func:`qualities`.

    Raises:
        MedscoreError: as :func:`qualities`.
    """
    return average(qualities(images, reference, convention, metal))


def average(values: Sequence[Quality]) -> Quality:
    """Mean of each metric.

    Args:
        values: at least one quality.
    """
    rows = np.array([(q.psnr, q.ssim, q.nmse) for q in values])
    return Quality(*map(float, rows.mean(axis=0)))


def qualities(
    images: NDArray[np.floating],
    reference: NDArray[np.floating],
    convention: Convention | str = "ct",
    metal: NDArray[np.bool_] | None = None,
) -> list[Quality]:
    """Compare slices with a reference: one quality per slice, or one for the volume.

    Args:
        images: (n, H, W) images in the unit of the convention.
        reference: (n, H, W) reference.
        convention: convention, or its name in
            :data:`medscore.metrics.convention.CONVENTIONS`.
        metal: (H, W) or (n, H, W) mask of metal, which conventions without metal require and
            others ignore.

    Raises:
        MedscoreError: the convention is unknown, shapes differ or are smaller than the SSIM window,
            values are NaN or infinite, the mask of metal is missing, or a reference nowhere above
            ``low`` should give the data range.
    """
    convention = convention_of(convention)
    kept = _kept(images, reference, convention, metal)
    window = WINDOWS[convention.window]
    inside = convention.region(*reference.shape[1:])
    whole = binary_erosion(inside, np.ones((window.side, window.side), dtype=bool))
    if not whole.any():
        raise MedscoreError(
            f"slices of {inside.shape[0]} x {inside.shape[1]} pixels are too small for the SSIM "
            f"window of {window.side} x {window.side}",
            hint="use larger images",
        )

    def seen(stack: NDArray[np.floating], k: int) -> NDArray[np.float64]:
        return np.where(kept[k], stack[k].astype(np.float64), convention.low)

    widths = [convention.high - convention.low] * len(reference)
    if convention.data_range != "fixed":
        widths = _widths([seen(reference, k).max() for k in range(len(reference))], convention)
    rows = []
    for k, width in enumerate(widths):
        x, r = (convention.unit_range(seen(stack, k), width) for stack in (images, reference))
        _, ssim = structural_similarity(r, x, data_range=1.0, full=True, **window.settings)
        error, power = ((x - r)[inside] ** 2).mean(), (r[inside] ** 2).mean()
        rows.append((error, power, ssim[whole].mean()))
    if convention.over == "volume":
        rows = [tuple(np.mean(rows, axis=0))]
    return [_quality(*map(float, row)) for row in rows]


def _widths(tops: Sequence[float], convention: Convention) -> list[float]:
    """Length of the range of each slice, from the maxima of the reference."""
    if convention.data_range == "volume":
        tops = [max(tops)] * len(tops)
    for k, top in enumerate(tops):
        if not top > convention.low:
            which = f"slice {k} of " if convention.data_range == "slice" else ""
            raise MedscoreError(
                f"{which}the reference is nowhere above {convention.low:g}, which leaves no data "
                "range",
                hint="leave it out, or use a fixed range",
            )
    return [top - convention.low for top in tops]


def _quality(error: float, power: float, ssim: float) -> Quality:
    psnr = -10 * math.log10(error) if error > 0 else math.inf
    return Quality(psnr, ssim, error / power if power > 0 else math.inf if error > 0 else 0.0)


def _kept(
    images: NDArray[np.floating],
    reference: NDArray[np.floating],
    convention: Convention,
    metal: NDArray[np.bool_] | None,
) -> NDArray[np.bool_]:
    """Mask (n, H, W) of pixels that keep their values; others (outside the region, or metal) are
    set to ``low`` in both images, so that they affect neither windows nor ranges.
    """
    shape = reference.shape
    if images.shape != shape or len(shape) != 3 or not shape[0]:
        raise MedscoreError(
            f"images of shape {images.shape} cannot be compared with a reference of shape {shape}",
            hint="use slices (n, H, W) on one grid for both",
        )
    for name, stack in (("images", images), ("reference", reference)):
        if not np.isfinite(stack).all():
            raise MedscoreError(f"the {name} hold NaN or infinity", hint="replace them before use")
    inside = np.broadcast_to(convention.region(*shape[1:]), shape)
    if not convention.without_metal:
        return inside
    if metal is None or metal.shape not in (shape, shape[1:]):
        given = "there is none" if metal is None else f"its shape is {metal.shape}"
        raise MedscoreError(
            f"this convention requires a mask of metal of shape {shape}: {given}",
            hint="set `metal`, or use a convention that keeps metal",
        )
    return inside & ~metal

r"""PSNR, SSIM and NMSE with their convention named beside every number.

An image x and its reference r are mapped to u = (x - low) / range, so the data range is 1. Over the
pixels of the region,

.. math:: PSNR = -10 \log_{10} \overline{(u_x - u_r)^2}, \quad
          NMSE = \textstyle\sum (u_x - u_r)^2 / \sum u_r^2,

and SSIM (Wang et al. 2004) is the mean of its map over the pixels whose whole window lies in the
region: of a full image, that is scikit-image's number. NMSE takes values above ``low``, because
|r|^2 has no meaning for HU, which are negative in air.
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
from medscore.metrics.convention import CONVENTIONS, CT_CONVENTION, WINDOWS, Convention

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
    """How near an image is to its reference.

    Attributes:
        psnr: in dB, inf without any error. ssim: at most 1.
        nmse: 0 or more; inf for an error where the reference is ``low`` throughout.
    """

    psnr: float
    ssim: float
    nmse: float


def quality(
    images: NDArray[np.floating],
    reference: NDArray[np.floating],
    convention: Convention,
    metal: NDArray[np.bool_] | None = None,
) -> Quality:
    """The mean of :func:`qualities`, which see."""
    return average(qualities(images, reference, convention, metal))


def average(values: Sequence[Quality]) -> Quality:
    """The mean of each metric."""
    rows = np.array([(q.psnr, q.ssim, q.nmse) for q in values])
    return Quality(*map(float, rows.mean(axis=0)))


def qualities(
    images: NDArray[np.floating],
    reference: NDArray[np.floating],
    convention: Convention,
    metal: NDArray[np.bool_] | None = None,
) -> list[Quality]:
    """Compare slices (n, H, W) with a reference of the same shape: n numbers, or the volume's one.

    Args:
        metal: pixels (H, W) or (n, H, W) of metal, which a convention without metal needs and
            others leave alone.

    Raises:
        MedscoreError: shapes that differ or are smaller than SSIM's window, values that are NaN or
            infinite, no pixels of metal, or a reference nowhere above ``low`` that should give the
            data range.
    """
    kept = _kept(images, reference, convention, metal)
    window = WINDOWS[convention.window]
    inside = convention.region(*reference.shape[1:])
    whole = binary_erosion(inside, np.ones((window.side, window.side), dtype=bool))
    if not whole.any():
        raise MedscoreError(
            f"slices of {inside.shape[0]} x {inside.shape[1]} pixels are too small for SSIM's "
            f"window of {window.side} x {window.side}",
            hint="compare larger images",
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
    """Of the range of each slice, from the maxima of the reference's."""
    if convention.data_range == "volume":
        tops = [max(tops)] * len(tops)
    for k, top in enumerate(tops):
        if not top > convention.low:
            which = f"slice {k} of " if convention.data_range == "slice" else ""
            raise MedscoreError(
                f"{which}the reference is nowhere above {convention.low:g}: it gives no data range",
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
    """The pixels (n, H, W) that keep their values: what lies outside the region, and metal, is set
    to ``low`` in both, so that no window and no range sees it.
    """
    shape = reference.shape
    if images.shape != shape or len(shape) != 3 or not shape[0]:
        raise MedscoreError(
            f"images {images.shape} cannot be compared with a reference {shape}",
            hint="give both as slices (n, H, W) on one grid",
        )
    for name, stack in (("images", images), ("reference", reference)):
        if not np.isfinite(stack).all():
            raise MedscoreError(f"the {name} hold NaN or infinity", hint="replace them before use")
    inside = np.broadcast_to(convention.region(*shape[1:]), shape)
    if not convention.without_metal:
        return inside
    if metal is None or metal.shape not in (shape, shape[1:]):
        given = "none are given" if metal is None else f"these are {metal.shape}"
        raise MedscoreError(
            f"this convention needs the pixels of metal, {shape}: {given}",
            hint="pass metal, or use a convention that keeps it",
        )
    return inside & ~metal

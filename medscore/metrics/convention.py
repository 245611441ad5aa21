"""Conventions for comparing images: per slice or volume, value range, region, SSIM window.

PSNR and SSIM mean nothing without their convention: between conventions, the values of one pair of
images differ by several dB.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medscore.errors import MedscoreError


@dataclass(frozen=True)
class SSIMWindow:
    """Window over which SSIM takes local statistics.

    Attributes:
        side: side in pixels.
        words: description.
        settings: arguments of scikit-image's ``structural_similarity``.
    """

    side: int
    words: str
    settings: dict[str, Any]


WINDOWS = {
    "uniform": SSIMWindow(7, "a uniform 7x7 window", {"win_size": 7}),
    "gaussian": SSIMWindow(
        11,
        "a Gaussian 11x11 window (sigma 1.5)",
        {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False},
    ),
}


@dataclass(frozen=True)
class Convention:
    """A convention of comparison; by default slice by slice, full image, clipped to [low, high].

    Attributes:
        low: value that is mapped to 0.
        high: value that is mapped to 1, if the range is fixed.
        unit: unit of both.
        over: "slice" for one number per slice; "volume" for one per volume: PSNR and NMSE from the
            sums over all voxels, SSIM as the mean over slices (fastMRI, Zbontar et al. 2018).
        data_range: "fixed" for ``high - low``; "slice" or "volume" for the maximum of the
            reference there minus ``low``.
        clip: clip images to the range.
        roi: "full", or "circle" for pixels whose centre is at most half the shorter side from the
            centre of the image. Pixels outside affect neither the range nor any SSIM window.
        window: SSIM window: "uniform" 7x7 with sample covariances (scikit-image's default), or
            "gaussian" (Wang et al. 2004: sigma 1.5, 11x11, population covariances).
        without_metal: set metal pixels to ``low`` in both images first.

    Raises:
        MedscoreError: the range is empty or infinite, or the parts contradict each other.
    """

    low: float
    high: float = math.inf
    unit: str = ""
    _: KW_ONLY
    over: Literal["slice", "volume"] = "slice"
    data_range: Literal["fixed", "slice", "volume"] = "fixed"
    clip: bool = True
    roi: Literal["full", "circle"] = "full"
    window: Literal["uniform", "gaussian"] = "uniform"
    without_metal: bool = False

    def __post_init__(self) -> None:
        fixed = self.data_range == "fixed"
        if not math.isfinite(self.low) or (fixed and not self.low < self.high < math.inf):
            raise MedscoreError(
                f"the range of a convention is {self.low:g}..{self.high:g}",
                hint="use finite ends with `low` below `high`, or the range of the reference",
            )
        if self.over == "volume" and self.data_range == "slice":
            raise MedscoreError(
                "`data_range` is slice, but one number is given per volume",
                hint="set `data_range` to fixed or volume",
            )

    def __str__(self) -> str:
        """The convention in words, on one line."""
        metal = f"metal set to {self.low:g} {self.unit} in both, " if self.without_metal else ""
        clipped = " and clipped" if self.clip else ", not clipped"
        slices = "slice by slice " if self.over == "volume" else ""
        inside = " wholly inside" if self.roi == "circle" else ""
        text = (
            f"per {self.over}, {self.roi_words}, {metal}{self.range_words} mapped to 0..1{clipped},"
            f" data range 1, SSIM {slices}with {WINDOWS[self.window].words}{inside}"
        )
        return " ".join(text.split())

    @property
    def roi_words(self) -> str:
        """The compared region in words."""
        return "full image" if self.roi == "full" else "inscribed circle"

    @property
    def range_words(self) -> str:
        """The range that is mapped to 0..1 in words."""
        if self.data_range == "fixed":
            return f"{self.low:g}..{self.high:g} {self.unit}".rstrip()
        return (
            f"{self.low:g} {self.unit}".rstrip() + f"..maximum of the reference {self.data_range}"
        )

    def region(self, height: int, width: int) -> NDArray[np.bool_]:
        """Mask (H, W) of the compared pixels.

        Args:
            height: number of rows.
            width: number of columns.
        """
        if self.roi == "full":
            return np.ones((height, width), dtype=bool)
        y, x = np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2
        inside: NDArray[np.bool_] = y[:, None] ** 2 + x**2 <= (min(height, width) / 2) ** 2
        return inside

    def unit_range(
        self, image: NDArray[np.floating], width: float | None = None
    ) -> NDArray[np.float64]:
        """Map an image to 0..1, clipped if the convention clips.

        Args:
            image: values in the unit of the convention.
            width: length of the range; required unless the range is fixed.
        """
        width = self.high - self.low if width is None else width
        scaled: NDArray[np.float64] = (image.astype(np.float64) - self.low) / width
        return np.clip(scaled, 0, 1) if self.clip else scaled


CT_CONVENTION = Convention(-1000.0, 1500.0, "HU")

CONVENTIONS = {
    "ct": CT_CONVENTION,
    "mr": Convention(0.0, data_range="slice", clip=False),
    "fastmri": Convention(0.0, over="volume", data_range="volume", clip=False),
    "thesis-ct": replace(CT_CONVENTION, window="gaussian"),
    "thesis-mr": Convention(0.0, data_range="volume", window="gaussian"),
    "thesis-mar": replace(CT_CONVENTION, without_metal=True),
}
"""Conventions by name; ``replace(..., roi="circle")`` gives the variant in the circle.

``fastmri`` is that of Zbontar et al. 2018. ``thesis-*`` follow Song et al. 2022: images in 0..1,
SSIM as in the library piq, and metal set to 0 for metal artifact removal. They differ from it in
four points. There, each CT volume is scaled by its own extremes; piq averages images of 384 or more
pixels per side before SSIM; the SSIM of metal artifact removal has twice the data range, which
scikit-image assumed for floats; and pixels outside the circle are set to 0, but counted."""


def convention_of(convention: Convention | str) -> Convention:
    """Look up a convention by name; a convention is returned unchanged.

    Args:
        convention: key of ``CONVENTIONS``, or a convention.

    Raises:
        MedscoreError: the name is unknown.
    """
    if isinstance(convention, Convention):
        return convention
    if convention not in CONVENTIONS:
        raise MedscoreError(
            f"`convention` is {convention!r}", hint=f"use one of: {', '.join(CONVENTIONS)}"
        )
    return CONVENTIONS[convention]

"""Conventions by which images are compared: over what, in which range, where, by which window.

No PSNR or SSIM means anything without its own: the same pair of images differs by several dB from
one to the other.
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
    """``side`` in pixels, what it is in words, and what scikit-image is told for it."""

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
    """How images are compared; by default slice by slice, full image, clipped to [low, high].

    Attributes:
        low, high: of the range that is mapped to 0..1; ``high`` counts for a fixed range alone.
        unit: of both.
        over: one number per slice, or one per volume: PSNR and NMSE from the sums over all its
            voxels, SSIM the mean of its slices' (fastMRI, Zbontar et al. 2018).
        data_range: high - low, or what the reference's maximum, in the slice or in the volume, has
            above ``low``.
        clip: to the range.
        roi: all pixels, or those whose centre is at most half the (shorter) side from the image's.
            What lies outside counts nowhere, not in the range and in no window of SSIM.
        window: of SSIM: uniform 7x7 with sample covariances (scikit-image's default), or Gaussian
            (Wang et al. 2004: sigma 1.5, 11x11, population covariances).
        without_metal: pixels of metal are set to ``low`` in both images before all else.

    Raises:
        MedscoreError: an empty or endless range, or parts that do not go together.
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
                f"a convention's range cannot be {self.low:g}..{self.high:g}",
                hint="use finite ends, the low one first, or the reference's range",
            )
        if self.over == "volume" and self.data_range == "slice":
            raise MedscoreError(
                "a volume has one data range, not one per slice",
                hint="use the data range fixed or volume",
            )

    def __str__(self) -> str:
        """All of it in words, on one line."""
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
        """The region that is judged."""
        return "full image" if self.roi == "full" else "inscribed circle"

    @property
    def range_words(self) -> str:
        """What becomes 0..1, in the images' unit."""
        if self.data_range == "fixed":
            return f"{self.low:g}..{self.high:g} {self.unit}".rstrip()
        return (
            f"{self.low:g} {self.unit}".rstrip() + f"..maximum of the reference {self.data_range}"
        )

    def region(self, height: int, width: int) -> NDArray[np.bool_]:
        """The pixels (H, W) that are judged."""
        if self.roi == "full":
            return np.ones((height, width), dtype=bool)
        y, x = np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2
        inside: NDArray[np.bool_] = y[:, None] ** 2 + x**2 <= (min(height, width) / 2) ** 2
        return inside

    def unit_range(
        self, image: NDArray[np.floating], width: float | None = None
    ) -> NDArray[np.float64]:
        """The image mapped to 0..1, and clipped unless the convention does not.

        Args:
            width: of the range in the image's unit; needed unless the range is fixed.
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
"""By name; ``replace(..., roi="circle")`` gives the variant in the circle.

``fastmri`` is that of Zbontar et al. 2018. ``thesis-*`` are those of Song et al. 2022: images in
0..1, SSIM as in the library piq, and for metal artifact removal metal set to 0. They differ in four
points. There each CT volume is scaled by its own extremes; piq averages images of 384 and more
pixels a side before SSIM; the SSIM of metal artifact removal has twice the data range, which is
what scikit-image assumed of floats; and what lies outside the circle is set to 0, but counted."""

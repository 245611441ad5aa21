"""PSNR and SSIM with their convention named beside every number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity


@dataclass(frozen=True)
class Convention:
    """How images are compared: slice by slice, full image, clipped to [low, high].

    The range is mapped to 0..1, so the data range is 1; SSIM is scikit-image's default (uniform
    7x7 window).
    """

    low: float
    high: float
    unit: str

    def __str__(self) -> str:
        return (
            f"per slice, full image, {self.low:g}..{self.high:g} {self.unit} mapped to 0..1 and "
            "clipped, data range 1, SSIM with a uniform 7x7 window"
        )

    def unit_range(self, image: NDArray[np.floating]) -> NDArray[np.float64]:
        """The image mapped to 0..1 and clipped."""
        scaled = (image.astype(np.float64) - self.low) / (self.high - self.low)
        clipped: NDArray[np.float64] = np.clip(scaled, 0, 1)
        return clipped


CT_CONVENTION = Convention(-1000.0, 1500.0, "HU")


@dataclass(frozen=True)
class Quality:
    """Mean over slices of PSNR in dB and of SSIM."""

    psnr: float
    ssim: float


def quality(
    images: NDArray[np.floating], reference: NDArray[np.floating], convention: Convention
) -> Quality:
    """Compare slices (n, H, W) with a reference of the same shape."""
    pairs = [
        (convention.unit_range(image), convention.unit_range(target))
        for image, target in zip(images, reference, strict=True)
    ]
    psnr = [peak_signal_noise_ratio(target, image, data_range=1.0) for image, target in pairs]
    ssim = [structural_similarity(target, image, data_range=1.0) for image, target in pairs]
    return Quality(float(np.mean(psnr)), float(np.mean(ssim)))

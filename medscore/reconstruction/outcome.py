"""A finished reconstruction beside a classical one and the ground truth, and its tables."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.fit import fill_of
from medscore.measurements.measurement import Measurement
from medscore.metrics.card import Card, card
from medscore.metrics.image_quality import CT_CONVENTION, Convention, Quality, average, qualities
from medscore.reconstruction.error_bars import ErrorPlan, words_of
from medscore.reconstruction.preview import default_window
from medscore.reconstruction.result import Reconstruction
from medscore.reconstruction.widths import Width
from medscore.uncertainty.regions import Region

TARGET = "the image given as reference, on the measurement's grid"

BOUND = "reference on the prior's grid"
"""Row of a results table: the most that the resampling to the prior's grid and back leaves."""


@dataclass(frozen=True)
class Row:
    """One row of a results table.

    Attributes:
        method: name of the method.
        psnr: mean PSNR over slices in dB.
        ssim: mean SSIM over slices.
        nfe: network evaluations per sample.
        seconds: wall time.
    """

    method: str
    psnr: float
    ssim: float
    nfe: int
    seconds: float

    def record(self) -> dict[str, Any]:
        """The row for JSON; an infinite PSNR becomes null, because JSON has no infinity."""
        return {**asdict(self), "psnr": self.psnr if math.isfinite(self.psnr) else None}


@dataclass(frozen=True)
class Outcome:
    """A finished reconstruction with a classical reconstruction and the ground truth.

    Attributes:
        reconstruction: the samples, with their measurement.
        classical: name and image (slices, H, W) of the reconstruction without a prior.
        reference: ground truth (slices, H, W) in HU or as magnitudes; None if it is not known.
        window_asked: values that the preview shows black and white; by default by modality.
        errors: the error bars that are made.
    """

    reconstruction: Reconstruction
    classical: tuple[str, NDArray[np.float32]]
    reference: NDArray[np.float32] | None = None
    window_asked: tuple[float, float] | None = None
    errors: ErrorPlan = field(default_factory=ErrorPlan)

    @property
    def measurement(self) -> Measurement:
        """The data that were reconstructed."""
        return self.reconstruction.measurement

    @property
    def convention(self) -> Convention:
        """The convention of the metrics: HU in a fixed range, magnitudes in the reference's.

        Metal is left out, because the reference may be an image without it.
        """
        if self.measurement.metal is not None:
            return replace(CT_CONVENTION, without_metal=True)
        if self.measurement.modality == "CT" or self.reference is None:
            return CT_CONVENTION
        return Convention(0.0, float(self.reference.max()), "(brightest of the reference)")

    @property
    def window(self) -> tuple[float, float]:
        """The values that the preview shows black and white."""
        if self.window_asked is not None:
            return self.window_asked
        return default_window(self.measurement.modality, self.reconstruction.mean)

    @cached_property
    def width(self) -> Width | None:
        """The width of the intervals; None without intervals."""
        return self.errors.width(self.reconstruction)

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        """The regions with their intervals."""
        return self.errors.regions(self.reconstruction, self.width)

    def words_of_regions(self) -> list[str]:
        """One line for each region."""
        if self.width is None:
            return []
        unit = "HU" if self.measurement.modality == "CT" else ""
        return words_of(self.regions, self.width, unit)

    @cached_property
    def compared(self) -> dict[str, list[Quality]]:
        """The quality of every slice, by method: the classical image, one sample, and the mean.

        It is empty without a reference.
        """
        if self.reference is None:
            return {}
        r = self.reconstruction
        name, without = self.classical
        images = {name: without}
        k = r.samples.shape[1]
        if r.nfe:
            images["one sample"] = r.samples[:, 0]
        else:
            images[str(r.record.get("method", "reconstruction"))] = r.mean
        if k > 1:
            images[f"mean of {k}"] = r.mean
        if r.fit is not None:
            fill = fill_of(self.measurement.modality)
            images[BOUND] = r.fit.undo(r.fit.apply(self.reference, fill), fill)
        return {
            method: qualities(image, self.reference, self.convention, self.measurement.metal_mask)
            for method, image in images.items()
        }

    def rows(self) -> list[Row]:
        """The rows of the results table; empty without a reference."""
        r, rows = self.reconstruction, []
        for method, values in self.compared.items():
            q, own = average(values), method not in (self.classical[0], BOUND)
            rows.append(Row(method, q.psnr, q.ssim, r.nfe if own else 0, r.seconds if own else 0.0))
        return rows

    def cards(self) -> dict[str, Card]:
        """The metric card of each row, by method."""
        return {
            method: card(values, self.convention, target=TARGET)
            for method, values in self.compared.items()
        }

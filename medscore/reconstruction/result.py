"""The result of a reconstruction: posterior samples, their statistics, and the cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.fit import Fit
from medscore.engine.resume import Residual
from medscore.errors import MedscoreError
from medscore.likelihood.features import body_of
from medscore.measurements.measurement import Measurement
from medscore.reconstruction.evidence import Evidence
from medscore.reconstruction.roi import Mask, one_region, read_labels
from medscore.reconstruction.widths import Width, width_of
from medscore.uncertainty.intervals import (
    LEVEL,
    check_level,
    deviation,
    moderated_deviation,
    predictive_deviation,
)
from medscore.uncertainty.regions import Region, regions_of
from medscore.uncertainty.table import CalibrationTable


@dataclass(frozen=True)
class Reconstruction:
    """Posterior samples in HU or as magnitudes, with the computational cost.

    Attributes:
        samples: posterior samples (slices, samples, H, W), float32.
        residual: relative residual |y - A x| / |y| of each sample (slices, samples).
        nfe: network evaluations per sample.
        operator_calls: batched applications of A, its adjoint and T_inv, over all parts of an
            interrupted run.
        history: residuals of the noisy states during sampling.
        seconds: wall time, over all parts of an interrupted run.
        measurement: the data that were reconstructed.
        record: method, settings and prior, for provenance.json.
        warnings: warnings about the result.
        notes: what was done to the grid or to the result, one sentence each.
        fit: fit of the image to the grid on which the samples were drawn, if it is another one.
        complex_mean: mean over the complex samples (slices, H, W), whose moduli are ``samples``;
            None where the method gives magnitudes alone.
        calibration: calibration table of the prior, if there is one.
        evidence: what the data and what the prior decide, if it was measured.
        pairs: whether samples 2j and 2j + 1 have the same noise with opposite signs.

    Raises:
        MedscoreError: samples or residuals are not finite.
    """

    samples: NDArray[np.float32]
    residual: NDArray[np.float64]
    nfe: int
    operator_calls: int
    history: tuple[Residual, ...]
    seconds: float
    measurement: Measurement
    record: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    fit: Fit | None = None
    complex_mean: NDArray[np.complex64] | None = None
    calibration: CalibrationTable | None = None
    evidence: Evidence | None = None
    pairs: bool = False

    def __post_init__(self) -> None:
        if not np.isfinite(self.residual).all() or not np.isfinite(self.samples).all():
            raise MedscoreError(
                "the reconstruction is not finite: values overflowed",
                hint="check the scale of the measurement, or use another method",
            )

    @property
    def field(self) -> NDArray[np.bool_] | None:
        """Pixels (H, W) that the prior's grid shows; the others are air or zero. None for all."""
        inside = None if self.fit is None else self.fit.inside
        return None if inside is None or inside.all() else inside

    @property
    def mean(self) -> NDArray[np.float32]:
        """The mean over the samples (slices, H, W), which is the reconstruction."""
        mean: NDArray[np.float32] = self.samples.mean(axis=1)
        if (metal := self.measurement.metal_mask) is not None:
            equal = metal & self._equal
            mean[equal] = self.samples[:, 0][equal]  # exactly, which the mean is not
        return mean

    @property
    def phase(self) -> NDArray[np.float32] | None:
        """The phase of the mean over the complex samples (slices, H, W) in radians, if known."""
        if self.complex_mean is None:
            return None
        phase: NDArray[np.float32] = np.angle(self.complex_mean).astype(np.float32)
        return phase

    @property
    def std(self) -> NDArray[np.float32]:
        """The standard deviation over the samples (slices, H, W); it needs at least two.

        It is 0 in metal that was put back, of which the samples say nothing.
        """
        std: NDArray[np.float32] = deviation(self.samples, 1, pairs=self.pairs)
        if (metal := self.measurement.metal_mask) is not None:
            std[metal & self._equal] = 0
        return std

    @property
    def influence(self) -> NDArray[np.float32] | None:
        """The influence of the data on each pixel (slices, H, W), from 0, where the prior decides,
        to 1; None if it was not measured.
        """
        return None if self.evidence is None else self.evidence.influence(self.samples)

    def width(self, level: float = LEVEL) -> Width:
        """How wide intervals of the pixels and regions are, and what is guaranteed of them.

        Args:
            level: share of the pixels that the intervals shall hold.

        Raises:
            MedscoreError: the level is not between 0 and 1, or there is only one sample.
        """
        level, samples = check_level(level, "level"), self.samples.shape[1]
        if samples < 2:
            raise MedscoreError("one sample has no intervals", hint="draw two `samples` or more")
        return width_of(self.record, samples, level, self.calibration, pairs=self.pairs)

    def interval(self, level: float = LEVEL) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Lower and upper ends (slices, H, W) of the intervals of the pixels.

        Whether they are calibrated, and what is guaranteed, states :meth:`width`.

        Args:
            level: share of the pixels that the intervals shall hold.

        Raises:
            MedscoreError: as :meth:`width`.
        """
        return ends_of(self, self.width(level))

    def region(self, mask: Mask, level: float = LEVEL, *, above: float | None = None) -> Region:
        """Mean of the image over a region, with its interval.

        Args:
            mask: pixels of the region: an array (slices, H, W), a volume, or the path of an image,
                not zero inside.
            level: probability of the interval.
            above: value above which the volume of the region is measured.

        Raises:
            MedscoreError: as :meth:`width`, or the mask does not fit the reconstruction.
        """
        width = self.width(level)
        labels = one_region(mask, self.measurement)
        (found,) = self.regions_of_labels(labels, width.region_multiple, above)
        return found

    def regions(
        self, labels: Mask, level: float = LEVEL, *, above: float | None = None
    ) -> tuple[Region, ...]:
        """Means of the image over the regions of a label image, with their intervals.

        Args:
            labels: label image, as for :meth:`region`: 0 outside, and a whole number from 1 for
                each region.
            level: probability of the intervals.
            above: value above which the volumes of the regions are measured.

        Raises:
            MedscoreError: as :meth:`region`.
        """
        width = self.width(level)
        found = read_labels(labels, self.measurement)
        return self.regions_of_labels(found, width.region_multiple, above)

    def regions_of_labels(
        self, labels: NDArray[np.int64], multiple: float, above: float | None = None
    ) -> tuple[Region, ...]:
        """The regions of checked labels.

        Args:
            labels: (slices, H, W), as :func:`~medscore.reconstruction.roi.read_labels` makes them.
            multiple: multiple of the predictive deviation that intervals extend to either side.
            above: value above which volumes are measured.
        """
        pixel_ml = abs(float(np.linalg.det(self.measurement.affine[:3, :3]))) / 1000
        return regions_of(self.samples, labels, pixel_ml, multiple, above, pairs=self.pairs)

    @property
    def _equal(self) -> NDArray[np.bool_]:
        """Pixels (slices, H, W) in which all samples are equal."""
        equal: NDArray[np.bool_] = (self.samples == self.samples[:, :1]).all(axis=1)
        return equal


Solve = Callable[[Measurement], Reconstruction]
"""A method with all its settings, in the form that evaluation and tuning use."""


def ends_of(r: Reconstruction, width: Width) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Lower and upper ends (slices, H, W) of the intervals of the pixels.

    Magnitudes are not negative, and metal that was put back has no interval.

    Args:
        r: the reconstruction, of two samples or more.
        width: width of the intervals.
    """
    std = moderated(r) if width.calibrated else r.std.astype(np.float64)
    half = width.multiple * predictive_deviation(std, r.samples.shape[1], pairs=r.pairs)
    low, high = (r.mean - half).astype(np.float32), (r.mean + half).astype(np.float32)
    return (low.clip(min=0) if r.measurement.modality == "MR" else low), high


def moderated(r: Reconstruction) -> NDArray[np.float64]:
    """The deviation (slices, H, W) that calibrated intervals are multiples of.

    Args:
        r: the reconstruction, of two samples or more.
    """
    std = moderated_deviation(r.std, body_of_image(r))
    if (metal := r.measurement.metal_mask) is not None:
        std[metal & (r.std == 0)] = 0
    return std


def body_of_image(r: Reconstruction) -> NDArray[np.bool_]:
    """The pixels (slices, H, W) that coverage is counted over, from the reconstruction alone.

    They are those of the largest bright object with its holes filled, within the field of the prior
    and outside metal.

    Args:
        r: the reconstruction.
    """
    m = r.measurement
    body = body_of_values(r.mean, m.modality)
    if (inside := r.field) is not None:
        body &= inside
    return body if m.metal_mask is None else body & ~m.metal_mask


def body_of_values(values: NDArray[np.float32], modality: str) -> NDArray[np.bool_]:
    """The pixels (slices, H, W) of the largest bright object of each slice, without holes.

    Args:
        values: (slices, H, W), in HU or as magnitudes.
        modality: "CT" or "MR".
    """
    scales = np.array([max(float(np.quantile(image, 0.995)), 1e-30) for image in values])
    unit = (values + 1000) / 2500 if modality == "CT" else values / scales[:, None, None]
    return np.stack([body_of(image) for image in unit.astype(np.float32)])

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
from medscore.measurements.measurement import Measurement


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
        deviation: NDArray[np.float32] = self.samples.std(axis=1, ddof=1)
        if (metal := self.measurement.metal_mask) is not None:
            deviation[metal & self._equal] = 0
        return deviation

    @property
    def _equal(self) -> NDArray[np.bool_]:
        """Pixels (slices, H, W) in which all samples are equal."""
        equal: NDArray[np.bool_] = (self.samples == self.samples[:, :1]).all(axis=1)
        return equal


Solve = Callable[[Measurement], Reconstruction]
"""A method with all its settings, in the form that evaluation and tuning use."""

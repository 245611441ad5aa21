"""The result of a reconstruction: posterior samples, their statistics, and the cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medscore.engine.resume import Residual
from medscore.measurements.measurement import Measurement


@dataclass(frozen=True)
class Reconstruction:
    """Posterior samples in HU, or as magnitudes, and what they took.

    Attributes:
        samples: (slices, samples, H, W) float32. residual: |y - A x| / |y| of each, unclipped.
        nfe: network evaluations per sample. operator_calls: batched A, A^T and T_inv.
        history: residuals of the noisy states along the way. seconds: wall time.
    """

    samples: NDArray[np.float32]
    residual: NDArray[np.float64]
    nfe: int
    operator_calls: int
    history: tuple[Residual, ...]
    seconds: float

    @property
    def mean(self) -> NDArray[np.float32]:
        """Mean over the samples (slices, H, W)."""
        mean: NDArray[np.float32] = self.samples.mean(axis=1)
        return mean

    @property
    def std(self) -> NDArray[np.float32]:
        """Standard deviation over the samples (slices, H, W); needs at least two."""
        deviation: NDArray[np.float32] = self.samples.std(axis=1, ddof=1)
        return deviation


Solve = Callable[[Measurement], Reconstruction]

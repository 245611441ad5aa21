"""What every baseline is: parameters that a file may hold, and a solver.

A baseline reconstructs a :class:`~medscore.measurements.measurement.Measurement` to the same
:class:`~medscore.reconstruction.result.Reconstruction` that sampling with a prior gives, with one
sample a slice and no network evaluations of a prior. A new one is its file and its line in the
registry.
"""

from __future__ import annotations

import time
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from medscore.io.specs import Strict
from medscore.measurements.measurement import Measurement
from medscore.measurements.noise_std import whiten
from medscore.measurements.units import UNIT_RANGE, NetworkUnits
from medscore.operators.base import Operator
from medscore.reconstruction.result import Reconstruction


class Baseline(Strict):
    """Base of the baselines; each file has its own, with a ``kind`` of its own.

    Attributes:
        weighted: whether :meth:`solve` is given measurements in units of their noise, so that
            noisy rays weigh less, or the operator as it is.
    """

    weighted: ClassVar[bool] = True

    def solve(self, operator: Operator, y: Tensor) -> Tensor:
        """Images (batch, 1, H, W) from measurements, both in units in which images of interest lie
        between 0 (air, no signal) and about 1.

        Raises:
            MedscoreError: an operator that the method is not made for.
        """
        raise NotImplementedError

    def reconstruct(self, measurement: Measurement, noise: Tensor | None = None) -> Reconstruction:
        """Every slice by itself, in HU or as magnitudes.

        Args:
            noise: deviation of the data, broadcastable to them; None for none.

        Raises:
            MedscoreError: as :meth:`solve`.
        """
        start = time.perf_counter()
        units = NetworkUnits.of(UNIT_RANGE[measurement.modality], measurement)
        calls = measurement.operator.calls
        slices = len(measurement.data)
        images = np.empty((slices, 1, *measurement.size), np.float32)
        residual = np.empty((slices, 1))
        for i in range(slices):
            operator = measurement.operator.select([i])
            y = units.measurements(operator, torch.from_numpy(measurement.data[[i]]), [i])
            std = None
            if noise is not None and self.weighted:
                std = (noise if len(noise) == 1 else noise[[i]]) / units.of_slices([i], y)
            x = self.solve(*whiten(operator, y, std)[:2])
            residual[i] = float(operator.residual(x, y))
            values = units.to_values(x.abs() if x.is_complex() else x, [i])
            images[i] = values[:, 0].numpy()
        return Reconstruction(
            samples=images,
            residual=residual,
            nfe=0,
            operator_calls=measurement.operator.calls - calls,
            history=(),
            seconds=time.perf_counter() - start,
        )

"""The interface of a baseline: parameters that a configuration can set, and a solver.

A baseline is a reconstruction method (:mod:`medscore.reconstruction.method`) that gives one image
per slice and does not evaluate a prior.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.io.specs import Strict
from medscore.measurements.measurement import Measurement
from medscore.measurements.noise_std import whiten
from medscore.measurements.units import UNIT_RANGE, NetworkUnits
from medscore.operators.base import Operator
from medscore.operators.wrappers.stack import Stack
from medscore.reconstruction.complex_data import of_complex_images
from medscore.reconstruction.method import QUIET, Method, Run
from medscore.reconstruction.result import Reconstruction
from medscore.registry.noise import ESTIMATES, noise_std_of


class Baseline(Strict):
    """Base class of the baselines, whose fields are the parameters and a distinct ``kind``.

    Attributes:
        weighted: whether :meth:`solve` receives whitened measurements, so that noisy rays have less
            weight; otherwise the measurements are not whitened.
        real: whether :meth:`solve` returns real images of complex data, too.
    """

    weighted: ClassVar[bool] = True
    real: ClassVar[bool] = False

    @property
    def together(self) -> bool:
        """Whether the slices of a volume are reconstructed together, as one volume."""
        return False

    @abstractmethod
    def solve(self, operator: Operator, y: Tensor) -> Tensor:
        """Reconstruct images (batch, 1, H, W), or volumes (batch, 1, Z, H, W).

        The units are chosen such that image values lie between 0 (air or no signal) and about 1.

        Args:
            operator: A of the batch.
            y: measurements on the full grid, one per image.

        Raises:
            MedscoreError: the method does not support the operator.
        """

    def check_measurement(self, measurement: Measurement) -> None:
        """Reject a measurement that the method does not support, before anything slow begins.

        Args:
            measurement: the data.

        Raises:
            MedscoreError: the measurement does not fit the method.
        """

    def reconstruct(
        self, measurement: Measurement, noise_std: Tensor | None = None
    ) -> Reconstruction:
        """Reconstruct every slice, or a volume that is scanned whole, in HU or as magnitudes.

        Args:
            measurement: the data.
            noise_std: noise standard deviation, broadcastable to the data; None if noise-free.

        Raises:
            MedscoreError: as :meth:`solve`.
        """
        start = time.perf_counter()
        self.check_measurement(measurement)
        units = NetworkUnits.of(UNIT_RANGE[measurement.modality], measurement)
        calls, of_volumes = measurement.operator.calls, 0
        slices = len(measurement.data)
        if together := self.together and slices > 1:
            units = units.common()
        images = np.empty((measurement.slices, 1, *measurement.size), np.float32)
        residual = np.empty((slices, 1))
        means: list[NDArray[np.complex64]] = []
        for chosen in [list(range(slices))] if together else [[i] for i in range(slices)]:
            operator = measurement.operator.select(chosen)
            y = units.measurements(operator, torch.from_numpy(measurement.data[chosen]), chosen)
            std = None
            if noise_std is not None and self.weighted:
                own = noise_std if len(noise_std) == 1 else noise_std[chosen]
                std = own / units.of_slices(chosen, y)
            white, rows, _ = whiten(operator, y, std)
            if together:
                volume = Stack(white, slices)
                x = volume.to_slices(self.solve(volume, volume.to_volume(rows)))
                of_volumes = volume.calls
            else:
                x = self.solve(white, rows)
            residual[chosen, 0] = operator.residual(x, y).numpy()
            if x.is_complex():
                parts = (units.of_slices(chosen, x) * x)[:, 0]
                means.append(parts.to(torch.complex64).numpy())
            values = units.to_values(x.abs() if x.is_complex() else x, chosen)
            if measurement.whole:
                images[:, 0] = values[0].numpy()
            else:
                images[chosen] = values.numpy()
        return Reconstruction(
            samples=images,
            residual=residual,
            nfe=0,
            operator_calls=measurement.operator.calls - calls + of_volumes,
            history=(),
            seconds=time.perf_counter() - start,
            measurement=measurement,
            complex_mean=np.concatenate(means) if means else None,
        )


@dataclass(frozen=True)
class BaselineMethod(Method):
    """A baseline as a reconstruction method.

    Attributes:
        solver: the baseline.
        noise: name of the noise, as for :func:`~medscore.registry.noise.noise_std_of`, or the noise
            standard deviation.
        weights: hash of the solver's weights, if it has any.
    """

    solver: Baseline
    noise: str | float | Tensor = "recorded"
    weights: str = ""

    def check(self, measurement: Measurement, where: str | Path = "measurement") -> None:
        self.solver.check_measurement(measurement)
        self._noise_std(measurement, where)

    def _noise_std(self, measurement: Measurement, where: str | Path) -> Tensor | None:
        """The noise, which is not estimated for a solver that does not use it."""
        if isinstance(self.noise, str) and not self.solver.weighted:
            named = measurement.noise if self.noise == "recorded" else self.noise
            if named == "unknown" or named in ESTIMATES:
                return None
        return noise_std_of(self.noise, measurement, where)

    def gives_phase(self, measurement: Measurement) -> bool:
        return not self.solver.real and of_complex_images(measurement)

    def identity(self, modality: str) -> str:
        return self.weights

    def reconstruct(self, measurement: Measurement, run: Run = QUIET) -> Reconstruction:
        noise_std = self._noise_std(measurement, run.where)
        try:
            found = self.solver.reconstruct(measurement, noise_std)
        except ValueError as error:  # an operator without an inverse
            raise MedscoreError(
                f"baseline {self.solver.model_dump()['kind']}: {error}",
                where=run.where,
                hint="use adjoint, cgls or fista-tv",
            ) from error
        parameters = self.solver.model_dump(mode="json", exclude={"network"})
        noise = self.noise if isinstance(self.noise, str) else "given"
        record = {
            "method": parameters["kind"],
            "settings": {**parameters, "noise": noise},
            "operator": repr(measurement.operator),
        }
        return replace(found, record=record)

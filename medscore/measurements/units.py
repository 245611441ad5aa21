r"""Conversion between a measurement's unit and the range of the prior: value = shift + unit x.

A prior of CT images is tied to HU, and through the attenuation of water to line integrals. An MRI
scanner's magnitudes have no absolute unit, so the magnitude that becomes 1 is taken from each
slice's own measurements: a high quantile of their direct reconstruction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from medscore.datasets.collections.slices import FULL
from medscore.datasets.fit import Fit
from medscore.errors import MedscoreError
from medscore.hounsfield import mu_to_hu
from medscore.measurements.measurement import ATTENUATION, Measurement
from medscore.operators.base import Operator
from medscore.operators.mri.centre import is_cartesian
from medscore.operators.mri.fourier import ifft2c
from medscore.operators.mri.gridding import has_a_trajectory
from medscore.operators.mri.masks import calibration_region
from medscore.operators.mri.modulus import root_sum_of_squares
from medscore.operators.mri.sensitivity import unit_peak
from medscore.operators.wrappers.padded import middle

MAGNITUDE_TOL = 1e-2
"""Tolerance of the pseudoinverse for the image from which the brightness is taken."""

MAGNITUDE_STEPS = 10
"""Its conjugate-gradient steps for k-space along a trajectory; with estimated coil maps, further
ones fit the errors of the maps."""


@runtime_checkable
class Scale(Protocol):
    """A range of values, such as that of a :class:`~medscore.priors.contract.DataContract`.

    Attributes:
        low: value at 0 of the range.
        scale: value at 1 minus value at 0.
    """

    @property
    def low(self) -> float: ...

    @property
    def scale(self) -> float: ...


@dataclass(frozen=True)
class Range:
    """A :class:`Scale` by its ends.

    Attributes:
        low: value at 0 of the range.
        high: value at 1 of the range.
    """

    low: float
    high: float

    @property
    def scale(self) -> float:
        """``high`` minus ``low``."""
        return self.high - self.low


UNIT_RANGE = {"CT": Range(-1000.0, 1500.0), "MR": Range(0.0, 1.0)}
"""Range by modality for methods without a data contract: HU, or multiples of the brightness."""


@dataclass(frozen=True)
class NetworkUnits:
    """The affine map value = shift + unit x from the prior's range to the measurement's unit.

    Attributes:
        shift: value at 0 of the prior's range.
        unit: length of the range, one for all slices or (slices, 1, 1, 1).
        mu_water: attenuation of water in 1/mm where values are attenuation, else ``None``.
    """

    shift: float
    unit: float | Tensor
    mu_water: float | None = None

    @staticmethod
    def of_attenuation(contract: Scale, mu_water: float) -> NetworkUnits:
        """Units for operators on attenuation in 1/mm.

        Args:
            contract: range of the prior in HU.
            mu_water: attenuation of water in 1/mm.
        """
        return NetworkUnits(
            shift=mu_water * (1 + contract.low / 1000),
            unit=mu_water * contract.scale / 1000,
            mu_water=mu_water,
        )

    @staticmethod
    def of(contract: Scale, m: Measurement, fit: Fit | None = None) -> NetworkUnits:
        """Units for a measurement and a prior that fits it.

        Args:
            contract: range of the prior.
            m: measurement.
            fit: fit of the measurement's image to the grid of the prior, if they differ.

        Raises:
            MedscoreError: the data of a slice do not tell the scale of its image.
        """
        if m.image_unit == ATTENUATION:
            assert m.mu_water is not None
            return NetworkUnits.of_attenuation(contract, m.mu_water)
        if m.modality == "CT":
            return NetworkUnits(shift=contract.low, unit=contract.scale)
        return NetworkUnits.of_magnitudes(contract, m.operator, torch.from_numpy(m.data), fit)

    @staticmethod
    def of_magnitudes(
        contract: Scale, operator: Operator, data: Tensor, fit: Fit | None = None
    ) -> NetworkUnits:
        """Units for magnitudes, whose scale is that of each slice's own measurements.

        Args:
            contract: range of the prior.
            operator: measurement operator of all slices.
            data: measurements (slices, ...).
            fit: fit of the image to the grid of the prior, if they differ.

        Raises:
            MedscoreError: the data of a slice do not tell the scale of its image.
        """
        full = []
        for index, y in enumerate(data):
            try:
                full.append(brightness(operator.select([index]), y[None], fit))
            except MedscoreError as error:
                raise MedscoreError(f"slice {index}: {error.what}", hint=error.hint) from error
        return NetworkUnits(0.0, torch.stack(full)[:, None, None, None] * contract.scale)

    def common(self) -> NetworkUnits:
        """The units with one length of the range for all slices, the mean of theirs."""
        if not isinstance(self.unit, Tensor):
            return self
        return replace(self, unit=self.unit.mean(0, keepdim=True).expand_as(self.unit))

    @property
    def each(self) -> Tensor | None:
        """Length of the range in each slice, (slices,); None if it is one for all."""
        return self.unit.flatten() if isinstance(self.unit, Tensor) else None

    def of_slices(self, slices: list[int] | None, like: Tensor) -> float | Tensor:
        """Unit of some slices, or of all.

        Args:
            slices: indices of the slices; all by default.
            like: tensor (slices, ...) with the axes and on the device to use.
        """
        if not isinstance(self.unit, Tensor):
            return self.unit
        unit = (self.unit if slices is None else self.unit[slices]).to(like.device)
        return unit.reshape(-1, *[1] * (like.ndim - 1))

    def measurements(
        self, operator: Operator, y: Tensor, slices: list[int] | None = None
    ) -> Tensor:
        """Measurements in the prior's range: (y - A shift) / unit.

        Args:
            operator: measurement operator A.
            y: measurements.
            slices: indices of the slices of ``y`` and ``operator``; all by default.
        """
        unit = self.of_slices(slices, y)
        if self.shift == 0:
            return y / unit
        return (y - operator.forward(self._constant(operator, y))) / unit

    def to_values(self, x: Tensor, slices: list[int] | None = None) -> Tensor:
        """Convert images from the prior's range to HU or magnitudes; two channels to the modulus.

        Args:
            x: (batch, channel, H, W) images in the prior's range.
            slices: indices of the slices of ``x``; all by default.
        """
        values = self.shift + self.of_slices(slices, x) * x
        if self.mu_water is not None:
            values = mu_to_hu(values, self.mu_water)
        if values.shape[1] == 2:
            values = root_sum_of_squares(values, 1, keepdim=True)
        return values

    def _constant(self, operator: Operator, like: Tensor) -> Tensor:
        """Constant image of the shift."""
        shape = operator.image_shape
        return torch.full((1, *(shape if len(shape) > 2 else (1, *shape))), self.shift).to(like)


def brightness(operator: Operator, y: Tensor, fit: Fit | None = None) -> Tensor:
    """Magnitude that becomes 1 in the prior's range: a percentile of the direct reconstruction.

    It is the 99.5th percentile. For k-space on its grid, the image is the root sum of squares of
    the fully sampled centre, or of all samples without one; otherwise it is A^+ y, along a
    trajectory by few steps.

    Args:
        operator: measurement operator of one sample.
        y: its measurements.
        fit: fit of the image to the grid on which the percentile is taken.

    Raises:
        MedscoreError: k-space has values, but none in its centre, so that the image has no scale.
    """
    if y.is_complex() and is_cartesian(operator):
        mask = operator.mask(y).bool()
        mask = mask.reshape(-1, *mask.shape[-2:])[0].expand(y.shape[-2:])
        rows, columns = (
            min(n, m) for n, m in zip(operator.image_shape[-2:], y.shape[-2:], strict=True)
        )
        peak = y.abs().max()  # squares of extreme values leave single precision
        images = middle(ifft2c(unit_peak(y) * _centre(mask)), (rows, columns))
        image = peak * images.abs().square().sum(1).sqrt()
    elif has_a_trajectory(operator):
        peak = torch.where(y.abs().max() > 0, y.abs().max(), 1.0)
        found = operator.pinv(y / peak, tol=MAGNITUDE_TOL, max_iter=MAGNITUDE_STEPS)
        image = peak * found.x.abs()
    else:
        image = operator.pinv(y, tol=MAGNITUDE_TOL).x.abs()
    if fit is not None:
        image = torch.from_numpy(fit.apply(image.numpy()))
    full = torch.quantile(image.flatten(), FULL)
    if y.is_complex() and not bool(full > 0) and bool(y.any()):
        raise MedscoreError(
            "the centre of k-space is zero, so that the scale of the image is unknown",
            hint="measure the centre, and check the sampling mask",
        )
    return torch.where(full > 0, full, 1.0)


def _centre(mask: Tensor) -> Tensor:
    """Mask of the fully sampled centre; everything where there is none."""
    try:
        height, width = calibration_region(mask)
    except ValueError:
        return torch.ones_like(mask)
    ny, nx = mask.shape
    inside = torch.zeros_like(mask)
    top, left = ny // 2 - height // 2, nx // 2 - width // 2
    inside[top : top + height, left : left + width] = True
    return inside

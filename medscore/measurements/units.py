r"""Between a measurement's units and the prior's range: value = shift + unit x.

A prior of CT images is tied to HU, and through the attenuation of water to line integrals. A
scanner's magnitudes have no unit, so what becomes 1 is found in each slice's own measurements: a
high quantile of the image that they make by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from medscore.datasets.collections.slices import FULL
from medscore.hounsfield import mu_to_hu
from medscore.measurements.measurement import ATTENUATION, Measurement
from medscore.operators.base import Operator
from medscore.operators.mri.fourier import ifft2c
from medscore.operators.mri.masks import calibration_region

MAGNITUDE_TOL = 1e-2
"""Residual at which a first image is good enough to take its brightness from."""


@runtime_checkable
class Scale(Protocol):
    """A range of values, as a :class:`~medscore.priors.contract.DataContract` has one.

    Attributes:
        low: value of 0 in the range. scale: value of 1, less ``low``.
    """

    @property
    def low(self) -> float: ...

    @property
    def scale(self) -> float: ...


@dataclass(frozen=True)
class Range:
    """Values from ``low`` to ``high``: a :class:`Scale`."""

    low: float
    high: float

    @property
    def scale(self) -> float:
        """``high`` less ``low``."""
        return self.high - self.low


UNIT_RANGE = {"CT": Range(-1000.0, 1500.0), "MR": Range(0.0, 1.0)}
"""By modality, for methods that come without a contract: HU, or shares of the brightness."""


@dataclass(frozen=True)
class NetworkUnits:
    """The affine map: value = shift + unit x.

    Attributes:
        shift: value of 0 in the prior's range. unit: length of its range, one for all slices or
            (slices, 1, 1, 1). mu_water: where values are attenuation (1/mm), water's.
    """

    shift: float
    unit: float | Tensor
    mu_water: float | None = None

    @staticmethod
    def of_attenuation(contract: Scale, mu_water: float) -> NetworkUnits:
        """Of a contract in HU, for operators on attenuation in 1/mm."""
        return NetworkUnits(
            shift=mu_water * (1 + contract.low / 1000),
            unit=mu_water * contract.scale / 1000,
            mu_water=mu_water,
        )

    @staticmethod
    def of(contract: Scale, m: Measurement) -> NetworkUnits:
        """Of a measurement and a prior that fits it."""
        if m.image_unit == ATTENUATION:
            assert m.mu_water is not None
            return NetworkUnits.of_attenuation(contract, m.mu_water)
        if m.modality == "CT":
            return NetworkUnits(shift=contract.low, unit=contract.scale)
        full = [
            brightness(m.operator.select([i]), torch.from_numpy(y)[None])
            for i, y in enumerate(m.data)
        ]
        return NetworkUnits(0.0, torch.stack(full)[:, None, None, None] * contract.scale)

    def of_slices(self, slices: list[int] | None, like: Tensor) -> float | Tensor:
        """The unit of these slices, or all."""
        if not isinstance(self.unit, Tensor):
            return self.unit
        return (self.unit if slices is None else self.unit[slices]).to(like.device)

    def measurements(
        self, operator: Operator, y: Tensor, slices: list[int] | None = None
    ) -> Tensor:
        """y in the prior's range: (y - A shift) / unit.

        Args:
            slices: that ``y`` and ``operator`` are of, where units differ.
        """
        unit = self.of_slices(slices, y)
        if self.shift == 0:
            return y / unit
        return (y - operator.forward(self._constant(operator, y))) / unit

    def to_values(self, x: Tensor, slices: list[int] | None = None) -> Tensor:
        """Images in the prior's range as HU or magnitudes; two channels become their modulus.

        Args:
            slices: that ``x`` is of, where units differ.
        """
        values = self.shift + self.of_slices(slices, x) * x
        if self.mu_water is not None:
            values = mu_to_hu(values, self.mu_water)
        if values.shape[1] == 2:
            values = values.square().sum(1, keepdim=True).sqrt()
        return values

    def _constant(self, operator: Operator, like: Tensor) -> Tensor:
        """An image of nothing but the shift."""
        shape = operator.image_shape
        return torch.full((1, *(shape if len(shape) > 2 else (1, *shape))), self.shift).to(like)


def brightness(operator: Operator, y: Tensor) -> Tensor:
    """The magnitude that the prior knows as 1, of one sample: the 99.5th percentile of the image
    that its measurements make by themselves. Of k-space that is the fully sampled centre's, all
    coils together, and where it has none, all of it; else A^+ y.
    """
    if y.is_complex():
        mask = operator.mask(y).bool()
        mask = mask.reshape(-1, *mask.shape[-2:])[0].expand(y.shape[-2:])
        image = ifft2c(y * _centre(mask)).abs().square().sum(1).sqrt()
    else:
        image = operator.pinv(y, tol=MAGNITUDE_TOL).x.abs()
    full = torch.quantile(image.flatten(), FULL)
    return torch.where(full > 0, full, 1.0)


def _centre(mask: Tensor) -> Tensor:
    """1 on the fully sampled centre."""
    try:
        height, width = calibration_region(mask)
    except ValueError:
        return torch.ones_like(mask)
    ny, nx = mask.shape
    inside = torch.zeros_like(mask)
    top, left = ny // 2 - height // 2, nx // 2 - width // 2
    inside[top : top + height, left : left + width] = True
    return inside

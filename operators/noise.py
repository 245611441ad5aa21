"""Models of measurement noise, drawn on the CPU from a generator, on measured entries only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from medscore.operators.grid import OperatorError


@runtime_checkable
class NoiseModel(Protocol):
    """Turns ideal measurements into noisy ones."""

    def __call__(self, y: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
        """Noisy measurements on the full grid, still zero where ``mask`` is zero.

        Args:
            y: ideal measurements.
            mask: 0 or 1, broadcastable to ``y``: which entries are measured.
            generator: a CPU generator, from which the noise is drawn.
        """


@dataclass(frozen=True)
class Noiseless:
    """Ideal measurements."""

    def __call__(self, y: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
        return mask * y


@dataclass(frozen=True)
class GaussianNoise:
    """Independent normal noise on each real measurement.

    Attributes:
        std: standard deviation, in the unit of the measurements.

    Raises:
        OperatorError: ``std`` is not positive, or the measurements are complex.
    """

    std: float

    def __post_init__(self) -> None:
        _positive(std=self.std)

    def __call__(self, y: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
        if y.is_complex():
            raise OperatorError("GaussianNoise is for real data: use ComplexGaussianNoise")
        noise = torch.randn(y.shape, generator=generator, dtype=y.dtype)
        return mask * (y + self.std * noise.to(y.device))


@dataclass(frozen=True)
class ComplexGaussianNoise:
    """Thermal noise of an MRI receiver: independent normal noise on each k-space sample and coil.

    Attributes:
        std: standard deviation of the real part and of the imaginary part, each.

    Raises:
        OperatorError: ``std`` is not positive, or the measurements are real.
    """

    std: float

    def __post_init__(self) -> None:
        _positive(std=self.std)

    def __call__(self, y: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
        if not y.is_complex():
            raise OperatorError("ComplexGaussianNoise is for complex data: use GaussianNoise")
        parts = torch.randn((*y.shape, 2), generator=generator, dtype=y.dtype.to_real())
        return mask * (y + self.std * torch.view_as_complex(parts).to(y.device))


@dataclass(frozen=True)
class PoissonNoise:
    r"""Low-dose CT: photon counting with electronic noise, then the logarithm.

    .. math:: N \sim \mathrm{Poisson}(I_0 e^{-y}) + \mathcal N(0, \sigma_e^2), \qquad
              y' = -\log(\max(N, 1) / I_0).

    A ray without any photon is recorded as one photon.

    Attributes:
        photons: I_0, the number of photons per ray without an object.
        electronic: sigma_e, the standard deviation of the electronic noise in photons (Yu et al.
            2012).

    Raises:
        OperatorError: ``photons`` is not positive, or ``electronic`` is negative.
    """

    photons: float
    electronic: float = 0.0

    def __post_init__(self) -> None:
        _positive(photons=self.photons)
        if not 0 <= self.electronic < float("inf"):
            raise OperatorError(f"`electronic` is {self.electronic}, expected 0 or more")

    def __call__(self, y: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
        expected = self.photons * torch.exp(-y.cpu().double())
        counts = counted(expected, self.electronic, generator)
        return mask * -torch.log(counts / self.photons).to(y)


def counted(expected: Tensor, electronic: float, generator: torch.Generator) -> Tensor:
    """Counts of a detector, at least one photon.

    Args:
        expected: expected number of photons, float64.
        electronic: standard deviation of the electronic noise in photons.
        generator: a CPU generator.
    """
    counts = torch.poisson(expected, generator=generator)
    if electronic:
        readout = torch.randn(counts.shape, generator=generator, dtype=counts.dtype)
        counts = counts + electronic * readout
    return counts.clamp_min(1)


def _positive(**value: float) -> None:
    for name, number in value.items():
        if not 0 < number < float("inf"):
            raise OperatorError(f"`{name}` is {number}, expected a positive number")

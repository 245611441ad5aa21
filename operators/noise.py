"""Measurement noise, drawn on the CPU from an explicit generator, on the measured entries only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class NoiseModel(Protocol):
    """Turns ideal line integrals into noisy ones."""

    def __call__(self, y: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
        """Noisy ``y`` (batch, channel, views, detectors), still zero where ``mask`` is zero."""


@dataclass(frozen=True)
class Noiseless:
    """Ideal measurements."""

    def __call__(self, y: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
        return mask * y


@dataclass(frozen=True)
class GaussianNoise:
    """Independent normal noise of standard deviation ``std`` on each line integral."""

    std: float

    def __call__(self, y: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(y.shape, generator=generator, dtype=y.dtype)
        return mask * (y + self.std * noise.to(y.device))


@dataclass(frozen=True)
class PoissonNoise:
    """Photon counting: N ~ Poisson(I0 exp(-y)), measured as -log(max(N, 1) / I0).

    A ray that no photon survives is recorded as one photon.
    """

    photons: float

    def __call__(self, y: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
        expected = self.photons * torch.exp(-y.cpu().double())
        counts = torch.poisson(expected, generator=generator).clamp_min(1)
        return mask * -torch.log(counts / self.photons).to(y)

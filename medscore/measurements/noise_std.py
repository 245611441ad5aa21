r"""Noise standard deviation of each measured number, from a noise model or from the data.

Of I_0 photons, :math:`N = I_0 e^{-y}` are counted behind a ray of line integral y. With electronic
noise of standard deviation s, in photons, the variance of a count is :math:`N + s^2`, so that of y
is :math:`(N + s^2) / N^2`, taken at the noisy y; without electronic noise it is :math:`e^y / I_0`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from medscore.operators.base import Operator
from medscore.operators.linalg import wide
from medscore.operators.noise import GaussianNoise, Noiseless, NoiseModel, PoissonNoise
from medscore.operators.noise_level import photons, repeated_differences, unexplained
from medscore.operators.wrappers.whitened import Whitened
from medscore.types import Readings


def std_of(model: NoiseModel, y: Tensor) -> Tensor | None:
    """Noise standard deviation by a noise model.

    Args:
        model: noise model.
        y: measurements of any shape.

    Returns:
        Real tensor of the shape of ``y``, in its unit; ``None`` without noise.

    Raises:
        ValueError: the model does not apply to ``y``, or its standard deviation is unknown.
    """
    if isinstance(model, GaussianNoise):
        real = y.real if y.is_complex() else y
        limits = torch.finfo(real.dtype)
        if not limits.tiny <= model.std <= limits.max:
            raise ValueError(f"{model.std:g} is outside of the range of {real.dtype}")
        return torch.full_like(real, model.std)
    if isinstance(model, PoissonNoise):
        if y.is_complex():
            raise ValueError("an MRI receiver counts no photons")
        poisson: Tensor = torch.exp(y / 2) / model.photons**0.5
        return poisson if model.electronic == 0 else _with_readout(poisson, model.electronic)
    if isinstance(model, Noiseless):
        return None
    raise ValueError(f"the standard deviation of {model} is unknown")


def _with_readout(poisson: Tensor, electronic: float) -> Tensor:
    """sqrt((N + s^2) / N^2) with 1 / sqrt(N), the standard deviation of photon counting alone."""
    return poisson * torch.sqrt(1 + (electronic * poisson) ** 2)


def photon_std(sinogram: Readings, mask: Tensor) -> Tensor:
    """Noise standard deviation of photon counting, with photons per ray estimated from the data.

    Args:
        sinogram: (batch, channel, ..., detectors) noisy line integrals.
        mask: measured entries of the sinogram.

    Returns:
        Tensor of the shape of the sinogram.

    Raises:
        ValueError: there are too few rays, or the data show no noise.
    """
    level = wide(photons(sinogram, mask), sinogram)
    return torch.exp(sinogram / 2) / level.sqrt()


def uniform_std(sinogram: Readings, mask: Tensor) -> Tensor:
    """One noise standard deviation for all line integrals of a sample, estimated from the data.

    It suits errors that do not grow with the line integral as photon noise does: beam hardening and
    partial volume, in particular in scans of patients with metal.

    Args:
        sinogram: (batch, channel, ..., detectors) noisy line integrals.
        mask: measured entries of the sinogram.

    Returns:
        Tensor of the shape of the sinogram.

    Raises:
        ValueError: there are too few rays, or the data show no noise.
    """
    level = wide(repeated_differences(sinogram, mask), sinogram)
    if not bool((level > 0).all()):
        raise ValueError("the sinogram shows no noise")
    return level.expand(sinogram.shape)


def and_model(known: Tensor, sinogram: Readings, mask: Tensor) -> Tensor:
    """Known noise and, as one standard deviation for all rays, what it does not explain.

    Partial volume, for example, which no image of a coarser grid explains: without it in the
    account, an image is fitted to it.

    Args:
        known: standard deviation of the known noise, of the shape of the sinogram.
        sinogram: (batch, channel, ..., detectors) noisy line integrals.
        mask: measured entries of the sinogram.
    """
    level = wide(unexplained(sinogram, mask, known), sinogram)
    return (known.square() + level.square()).sqrt()


def whiten(operator: Operator, y: Tensor, std: Tensor | None) -> tuple[Operator, Tensor, float]:
    """Divide operator and measurements by the noise standard deviation.

    Args:
        operator: measurement operator.
        y: measurements.
        std: noise standard deviation of each measured number; ``None`` without noise.

    Returns:
        Operator, measurements, and their noise standard deviation: 1, or 0 without noise.
    """
    if std is None:
        return operator, y, 0.0
    white = Whitened(operator, std)
    return white, white.white(y), 1.0

"""What a measurement file says of its noise, or what the data say, as a deviation of every ray."""

from __future__ import annotations

import torch
from torch import Tensor

from medscore.operators.base import Operator
from medscore.operators.noise import GaussianNoise, Noiseless, NoiseModel, PoissonNoise
from medscore.operators.noise_level import photons, repeated_differences
from medscore.operators.wrappers.whitened import Whitened
from medscore.types import Sinogram


def deviation(model: NoiseModel, sinogram: Tensor) -> Tensor | None:
    r"""The deviation of each measured number, in its unit; ``None`` without noise.

    With I_0 photons a ray of line integral y has the variance :math:`e^y / I_0`, taken from the
    noisy y.

    Raises:
        ValueError: a noise model whose deviation is not known.
    """
    if isinstance(model, GaussianNoise):
        return torch.full_like(sinogram.real if sinogram.is_complex() else sinogram, model.std)
    if isinstance(model, PoissonNoise):
        if sinogram.is_complex():
            raise ValueError("a receiver counts no photons")
        poisson: Tensor = torch.exp(sinogram / 2) / model.photons**0.5
        return poisson
    if isinstance(model, Noiseless):
        return None
    raise ValueError(f"the deviation of {model} is not known")


def estimated(sinogram: Sinogram, mask: Tensor) -> Tensor:
    """The deviation of each line integral of a transmission scan, its photons from the data.

    Raises:
        ValueError: too few rays to judge by, or data without noise.
    """
    level = photons(sinogram, mask)[:, None, None, None]
    return torch.exp(sinogram / 2) / level.sqrt()


def estimated_uniform(sinogram: Sinogram, mask: Tensor) -> Tensor:
    """One deviation for all line integrals of a sample, from the data; for what does not grow with
    the line integral as counted photons' noise does: beam hardening and partial volume, in scans
    of patients with metal above all.

    Raises:
        ValueError: too few rays to judge by, or data without noise.
    """
    level = repeated_differences(sinogram, mask)[:, None, None, None]
    if not bool((level > 0).all()):
        raise ValueError("the sinogram shows no noise")
    return level.expand(sinogram.shape)


def whiten(operator: Operator, y: Tensor, std: Tensor | None) -> tuple[Operator, Tensor, float]:
    """Operator, measurements and their noise's deviation: 1 after whitening, 0 without noise."""
    if std is None:
        return operator, y, 0.0
    white = Whitened(operator, std)
    return white, white.white(y), 1.0

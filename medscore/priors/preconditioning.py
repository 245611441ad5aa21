r"""Preconditioning: the denoiser from a network's prediction (Karras et al. 2022, Eq. 7).

With u = x/alpha - m, where m is the mean of the data,

.. math:: D(x, t) = m + c_{skip}\, u + c_{out}\, F(c_{in}\, u;\; c_{noise}).

This covers all networks and SDEs, because :math:`s = \sigma/\alpha` is the noise level of x/alpha.
The preconditioning is determined by the network's prediction target; the condition c_noise is the
function of time that the network receives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from medscore.sdes.base import SDE
from medscore.types import Times


class Scalars(NamedTuple):
    """c_skip, c_out and c_in of the formula above, each of shape (batch,)."""

    skip: Tensor
    out: Tensor
    into: Tensor


Preconditioning = Callable[[SDE, Times], Scalars]
"""Computes the three scalars of a prediction target at times t, (batch,)."""

Condition = Callable[[SDE, Times], Tensor]
"""Computes the time variable that the network receives at times t, (batch,)."""


@dataclass(frozen=True)
class EDM:
    """The EDM preconditioning with unit input and target variance (Karras et al. 2022, Table 1).

    Attributes:
        std: standard deviation of the data.
    """

    std: float = 0.5

    def __call__(self, sde: SDE, t: Times) -> Scalars:
        s, d = sde.ratio(t), self.std
        total = torch.sqrt(s**2 + d**2)
        return Scalars((d / total) ** 2, s * d / total, 1 / total)


def score(sde: SDE, t: Times) -> Scalars:
    """F predicts the score (NCSN).

    Args:
        sde: the forward diffusion.
        t: times, (batch,).
    """
    alpha, sigma = sde.alpha(t), sde.sigma(t)
    return Scalars(torch.ones_like(t), sigma**2 / alpha, alpha)


def scaled_score(sde: SDE, t: Times) -> Scalars:
    """F predicts sigma times the score (NCSNv2, Technique 6.3, and NCSN++).

    Args:
        sde: the forward diffusion.
        t: times, (batch,).
    """
    return Scalars(torch.ones_like(t), sde.ratio(t), sde.alpha(t))


def noise(sde: SDE, t: Times) -> Scalars:
    """F predicts the noise z, so the score is -F / sigma (DDPM, DDPM++).

    Args:
        sde: the forward diffusion.
        t: times, (batch,).
    """
    return Scalars(torch.ones_like(t), -sde.ratio(t), sde.alpha(t))


def velocity(sde: SDE, t: Times) -> Scalars:
    """F predicts the velocity v = alpha z - sigma x_0 (Salimans and Ho 2022).

    The clean image is x_0 = (alpha x - sigma v) / (alpha^2 + sigma^2), also on SDEs on which
    alpha^2 + sigma^2 is not 1.

    Args:
        sde: the forward diffusion.
        t: times, (batch,).
    """
    alpha, sigma = sde.alpha(t), sde.sigma(t)
    total = alpha**2 + sigma**2
    return Scalars(alpha**2 / total, -sigma / total, alpha)


def clean(sde: SDE, t: Times) -> Scalars:
    """F predicts the clean image x_0.

    Args:
        sde: the forward diffusion.
        t: times, (batch,).
    """
    return Scalars(torch.zeros_like(t), torch.ones_like(t), sde.alpha(t))


def denoiser(sde: SDE, t: Times) -> Scalars:
    """F is a denoiser D(x / alpha; sigma / alpha) of images with additive Gaussian noise.

    With the condition :func:`ratio` it accepts plug-and-play denoisers such as those of deepinv.

    Args:
        sde: the forward diffusion.
        t: times, (batch,).
    """
    return Scalars(torch.zeros_like(t), torch.ones_like(t), torch.ones_like(t))


def ratio(sde: SDE, t: Times) -> Tensor:
    """The noise-to-signal ratio sigma / alpha, which is the noise level of x / alpha.

    Args:
        sde: the forward diffusion.
        t: times, (batch,).
    """
    return sde.ratio(t)


def log_ratio(sde: SDE, t: Times) -> Tensor:
    """The logarithm of sigma / alpha.

    Args:
        sde: the forward diffusion.
        t: times, (batch,).
    """
    return torch.log(sde.ratio(t))


def log_sigma(sde: SDE, t: Times) -> Tensor:
    """The logarithm of sigma, the input of the Fourier features of NCSN++.

    Args:
        sde: the forward diffusion.
        t: times, (batch,).
    """
    return torch.log(sde.sigma(t))


def time_999(sde: SDE, t: Times) -> Tensor:
    """The time scaled to DDPM's step index, 999 t, as in DDPM++.

    Args:
        sde: the forward diffusion.
        t: times, (batch,).
    """
    return 999 * t


def level_index(sde: SDE, t: Times, count: int) -> Tensor:
    """The index of a time among equally spaced noise scales, in float64.

    It runs from 0 at eps to count - 1 at 1, is an exact integer at each scale, and is fractional in
    between.

    Args:
        sde: the forward diffusion.
        t: times, (batch,).
        count: number of noise scales.
    """
    index = (t.double() - sde.eps) / (1 - sde.eps) * (count - 1)
    near = torch.round(index)
    return torch.where((index - near).abs() < 1e-3, near, index).clamp_min(0)


@dataclass(frozen=True)
class Level:
    """The index of the noise scale, starting from 0 for the least noise.

    Attributes:
        count: number of noise scales.
    """

    count: int

    def __call__(self, sde: SDE, t: Times) -> Tensor:
        return level_index(sde, t, self.count).to(t.dtype)

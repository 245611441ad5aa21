r"""From what a network predicts to the denoiser, as four scalars (Karras et al. 2022, Eq. 7).

With u = x/alpha - m, where m is the mean of the data,

.. math:: D(x, t) = m + c_{skip}\, u + c_{out}\, F(c_{in}\, u;\; c_{noise}).

Every network and every SDE fits, because :math:`s = \sigma/\alpha` is the noise level of x/alpha. A
preconditioning says what the network was trained to predict, a condition which function of time it
receives.
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
"""What the network predicts: the scalars at times t, (batch,)."""

Condition = Callable[[SDE, Times], Tensor]
"""The time variable that the network receives, (batch,)."""


@dataclass(frozen=True)
class EDM:
    """Unit variance in and out (Karras et al. 2022, Table 1); ``std`` is that of the data."""

    std: float = 0.5

    def __call__(self, sde: SDE, t: Times) -> Scalars:
        s, d = sde.ratio(t), self.std
        total = torch.sqrt(s**2 + d**2)
        return Scalars((d / total) ** 2, s * d / total, 1 / total)


def score(sde: SDE, t: Times) -> Scalars:
    """F is the score itself (NCSN)."""
    alpha, sigma = sde.alpha(t), sde.sigma(t)
    return Scalars(torch.ones_like(t), sigma**2 / alpha, alpha)


def scaled_score(sde: SDE, t: Times) -> Scalars:
    """F / sigma is the score (Technique 6.3: NCSNv2, and NCSN++)."""
    return Scalars(torch.ones_like(t), sde.ratio(t), sde.alpha(t))


def noise(sde: SDE, t: Times) -> Scalars:
    """F is the noise z, so the score is -F / sigma (DDPM, DDPM++)."""
    return Scalars(torch.ones_like(t), -sde.ratio(t), sde.alpha(t))


def velocity(sde: SDE, t: Times) -> Scalars:
    """F is v = alpha z - sigma x_0 (Salimans & Ho 2022), where alpha^2 + sigma^2 = 1: else the
    same x_0 from any alpha and sigma, (alpha x - sigma v) / (alpha^2 + sigma^2).
    """
    alpha, sigma = sde.alpha(t), sde.sigma(t)
    total = alpha**2 + sigma**2
    return Scalars(alpha**2 / total, -sigma / total, alpha)


def clean(sde: SDE, t: Times) -> Scalars:
    """F is the clean image x_0."""
    return Scalars(torch.zeros_like(t), torch.ones_like(t), sde.alpha(t))


def denoiser(sde: SDE, t: Times) -> Scalars:
    """F is a denoiser D(x / alpha; sigma / alpha) of images with additive noise.

    With the condition :func:`ratio` this takes plug-and-play denoisers, such as deepinv's.
    """
    return Scalars(torch.zeros_like(t), torch.ones_like(t), torch.ones_like(t))


def ratio(sde: SDE, t: Times) -> Tensor:
    """sigma / alpha, the noise level of x / alpha."""
    return sde.ratio(t)


def log_ratio(sde: SDE, t: Times) -> Tensor:
    """log(sigma / alpha)."""
    return torch.log(sde.ratio(t))


def log_sigma(sde: SDE, t: Times) -> Tensor:
    """log sigma: what NCSN++'s Fourier features take."""
    return torch.log(sde.sigma(t))


def time_999(sde: SDE, t: Times) -> Tensor:
    """999 t: DDPM's thousand steps, made continuous (DDPM++)."""
    return 999 * t


def level_index(sde: SDE, t: Times, count: int) -> Tensor:
    """The number, from 0 at eps to count - 1 at 1, of ``count`` equally spaced times, in float64;
    in between a fraction, at the times themselves an exact integer.
    """
    index = (t.double() - sde.eps) / (1 - sde.eps) * (count - 1)
    near = torch.round(index)
    return torch.where((index - near).abs() < 1e-3, near, index).clamp_min(0)


@dataclass(frozen=True)
class Level:
    """The number of the noise scale, 0 for the least noise, of ``count`` ones."""

    count: int

    def __call__(self, sde: SDE, t: Times) -> Tensor:
        return level_index(sde, t, self.count).to(t.dtype)

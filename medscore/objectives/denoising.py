r"""Denoising score matching (Song et al. 2022, Eq. 7.7), written with the denoiser.

.. math:: E_t\, \lambda(t)\, E \| s_\theta(x_t, t) + z/\sigma \|^2
          = E_t\, \lambda \frac{\alpha^2}{\sigma^4}\, E \| D_\theta(x_t, t) - x_0 \|^2,
          \qquad x_t = \alpha x_0 + \sigma z,

because :math:`s = (\alpha D - x)/\sigma^2`. An objective is a rule for the times and a weighting.
The loss is the mean over the D components of a sample, without the factor 1/2, so its gradient is
2/D times that of :math:`\frac12 E_t \lambda E \| s_\theta - \nabla \log p_t \|^2`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from medscore.priors.base import Prior
from medscore.sdes.base import SDE
from medscore.types import State, Times

Weighting = Callable[[SDE, Times], Tensor]
r"""The weight of the mean square of D - x_0, :math:`\lambda(t) \alpha^2 / \sigma^4`."""

TimesRule = Callable[[SDE, Tensor], Tensor]
"""Maps uniform draws in [0, 1) to times."""


def denoising_loss(prior: Prior, x0: State, t: Times, z: State, weighting: Weighting) -> Times:
    """The weighted mean squared denoising error of each sample.

    Args:
        prior: the prior.
        x0: clean images (batch, ...).
        t: times (batch,).
        z: white noise of the shape of ``x0``.
        weighting: weight of the error at each time.

    Returns:
        The losses, (batch,).
    """
    sde = prior.sde
    error = (prior.denoise(sde.marginal(x0, t, z), t) - x0).flatten(1).square().mean(1)
    return weighting(sde, t) * error


@dataclass(frozen=True)
class Denoising:
    """A denoising objective: Eq. 7.7 with a choice of times and weighting.

    Attributes:
        times: maps uniform draws to times.
        weighting: weight of the error at each time.
    """

    times: TimesRule
    weighting: Weighting

    def __call__(self, prior: Prior, x0: State, u: Times, z: State) -> Times:
        """The loss of each sample, (batch,).

        Args:
            prior: the prior.
            x0: clean images (batch, ...).
            u: uniform draws in [0, 1), (batch,), which become times.
            z: white noise of the shape of ``x0``.
        """
        return denoising_loss(prior, x0, self.times(prior.sde, u), z, self.weighting)


# Weightings


def score_weighting(sde: SDE, t: Times) -> Tensor:
    r""":math:`\lambda = \sigma^2`, the inverse of the mean square of z / sigma (below Eq. 7.7).

    It is the weighting of Eq. 7.1 and 7.3, and that of chapter 7 in Table 9.1 for VP and sub-VP.
    For VE the table has g(t)^2, which is a constant multiple of sigma(t)^2.

    Args:
        sde: the forward diffusion.
        t: times (batch,).
    """
    return sde.ratio(t) ** -2


def likelihood_weighting(sde: SDE, t: Times) -> Tensor:
    r""":math:`\lambda = g^2`, which bounds the likelihood (Theorem 9.1).

    With uniform times, the loss times :math:`D (1 - \epsilon) / 2` is the integral of Eq. 9.4 from
    eps to 1, in nats.

    Args:
        sde: the forward diffusion.
        t: times (batch,).
    """
    return (sde.diffusion(t) / sde.sigma(t)) ** 2 * score_weighting(sde, t)


def importance_weighting(sde: SDE, t: Times) -> Tensor:
    r""":math:`\lambda = Z \sigma^2 / (1 - \epsilon)`: g^2 divided by the density of
    :class:`ImportanceTimes`, relative to uniform times.

    Z is the integral of :math:`g^2/\sigma^2` from eps to 1 (Eq. 9.12 has a superfluous factor T),
    and 1 - eps the length of the interval of uniform times.

    Args:
        sde: the forward diffusion.
        t: times (batch,).

    Raises:
        ValueError: the SDE has no noise at its eps, so that Z diverges.
    """
    low, high = log_ratios(sde)
    return 2 * (high - low) / (1 - sde.eps) * score_weighting(sde, t)


@dataclass(frozen=True)
class EDMWeighting:
    """(s^2 + d^2) / (s d)^2 with s = sigma/alpha (Karras et al. 2022, Table 1).

    With it the training target of the network behind
    :class:`medscore.priors.preconditioning.EDM` has unit variance.

    Attributes:
        std: standard deviation d of the data.
    """

    std: float

    def __call__(self, sde: SDE, t: Times) -> Tensor:
        return sde.ratio(t) ** -2 + self.std**-2


# Rules for the times


@dataclass(frozen=True)
class UniformTimes:
    """Times that are uniform in [eps, 1], as in Eq. 7.7."""

    def __call__(self, sde: SDE, u: Tensor) -> Tensor:
        return sde.eps + (1 - sde.eps) * u


@dataclass(frozen=True)
class LogNormalTimes:
    """Times with a normally distributed log noise-to-signal ratio, truncated to the SDE's range.

    The truncated normal distribution is sampled by inverse transform.

    Attributes:
        mean: mean of log(sigma/alpha).
        std: standard deviation of log(sigma/alpha).
    """

    mean: float = -1.5
    std: float = 1.4

    def __call__(self, sde: SDE, u: Tensor) -> Tensor:
        ends = torch.tensor([sde.eps, 1.0], dtype=torch.float64)
        low, high = (torch.log(sde.ratio(ends)) - self.mean) / self.std
        cdf_low, cdf_high = torch.special.ndtr(low), torch.special.ndtr(high)
        q = cdf_low + (cdf_high - cdf_low) * u.double()
        log_ratio = self.mean + self.std * math.sqrt(2) * torch.erfinv(2 * q - 1)
        return sde.time(torch.exp(log_ratio)).clamp(sde.eps, 1.0).to(u.dtype)


@dataclass(frozen=True)
class ImportanceTimes:
    r"""p(t) proportional to :math:`g^2/\sigma^2` (Eq. 9.12): uniform in log(sigma/alpha).

    On every linear SDE :math:`g^2 = (\sigma^2)' - 2 f \sigma^2` and :math:`f = (\log\alpha)'`, so

    .. math:: \frac{g^2}{\sigma^2} = \frac{(\sigma^2)'}{\sigma^2} - 2 (\log\alpha)'
              = \frac{d}{dt} \log \frac{\sigma^2}{\alpha^2},

    so the cumulative distribution has a closed form, whose inverse is ``sde.time``. For VE g/sigma
    is constant and the times are :class:`UniformTimes`.

    Raises:
        ValueError: (when called) the SDE has no noise at its eps.
    """

    def __call__(self, sde: SDE, u: Tensor) -> Tensor:
        low, high = log_ratios(sde)
        ratio = torch.exp(low + (high - low) * u.double())
        return sde.time(ratio).clamp(sde.eps, 1.0).to(u.dtype)


@dataclass(frozen=True)
class DiscreteTimes:
    """N equally spaced and equally probable times from eps to 1: the scales of Eq. 7.1 and 7.3.

    They are the levels of :func:`medscore.priors.preconditioning.level_index`.

    Attributes:
        scales: number of times N.

    Raises:
        ValueError: there are fewer than two scales.
    """

    scales: int

    def __post_init__(self) -> None:
        if self.scales < 2:
            raise ValueError(f"scales is {self.scales}, 2 or more are needed")

    def __call__(self, sde: SDE, u: Tensor) -> Tensor:
        level = torch.floor(u.double() * self.scales).clamp_max(self.scales - 1)
        return (sde.eps + (1 - sde.eps) * level / (self.scales - 1)).to(u.dtype)


def log_ratios(sde: SDE) -> tuple[float, float]:
    """The values of log(sigma/alpha) at eps and at 1.

    Args:
        sde: the forward diffusion.

    Raises:
        ValueError: the SDE has no noise at its eps.
    """
    low, high = sde.ratio(torch.tensor([sde.eps, 1.0], dtype=torch.float64)).tolist()
    if not low > 0:
        raise ValueError(f"{sde} has no noise at its eps, so g^2/sigma^2 has no finite integral")
    return math.log(low), math.log(high)


# Objectives


def denoising_score_matching() -> Denoising:
    """Denoising score matching: Eq. 7.7 with the weighting of chapter 7 and uniform times."""
    return Denoising(UniformTimes(), score_weighting)


def likelihood() -> Denoising:
    """The likelihood weighting g^2 (Eq. 9.4) with uniform times."""
    return Denoising(UniformTimes(), likelihood_weighting)


def likelihood_importance() -> Denoising:
    """The likelihood weighting with importance-sampled times (Eq. 9.12).

    Its expectation is that of :func:`likelihood`, its variance smaller.
    """
    return Denoising(ImportanceTimes(), importance_weighting)


def edm(data_std: float, mean: float = -1.5, std: float = 1.4) -> Denoising:
    """The objective of EDM (Karras et al. 2022, Table 1).

    Args:
        data_std: standard deviation of the data.
        mean: mean of log(sigma/alpha) over the training times.
        std: standard deviation of log(sigma/alpha).
    """
    return Denoising(LogNormalTimes(mean, std), EDMWeighting(data_std))


def smld(scales: int) -> Denoising:
    """The objective of SMLD: Eq. 7.1 divided by N D.

    It is meant for :class:`medscore.sdes.linear.VE` with eps = 0, whose scales are geometric.

    Args:
        scales: number of noise scales N.

    Raises:
        ValueError: there are fewer than two scales.
    """
    return Denoising(DiscreteTimes(scales), score_weighting)


def ddpm(scales: int) -> Denoising:
    """The objective of DDPM: Eq. 7.3 divided by N D; alpha_i in that equation is alpha^2 here.

    It is meant for :class:`medscore.sdes.ddpm.DDPM` with as many scales.

    Args:
        scales: number of noise scales N.

    Raises:
        ValueError: there are fewer than two scales.
    """
    return Denoising(DiscreteTimes(scales), score_weighting)

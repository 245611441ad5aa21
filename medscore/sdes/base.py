"""The interface of a linear forward SDE (Song 2022, Eq. 8.1 and Appendix B.5.2)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from medscore.types import AnyFloat, State, Times


class SDE(ABC):
    """A linear forward SDE whose quantities all have closed forms.

    Times are tensors of any shape in [0, 1].
    """

    eps: float
    """Time at which sampling ends; the marginal at ``eps`` stands for the data."""

    @abstractmethod
    def alpha(self, t: AnyFloat) -> AnyFloat:
        """Scale of the data in the perturbation kernel, Eq. B.18.

        Args:
            t: times.
        """

    @abstractmethod
    def sigma(self, t: AnyFloat) -> AnyFloat:
        """Standard deviation of the noise in the perturbation kernel, Eq. B.18.

        Args:
            t: times.
        """

    @abstractmethod
    def drift(self, t: AnyFloat) -> AnyFloat:
        """The coefficient f(t) of the drift f(t) x.

        Args:
            t: times.
        """

    @abstractmethod
    def diffusion(self, t: AnyFloat) -> AnyFloat:
        """The diffusion coefficient g(t).

        Args:
            t: times.
        """

    def ratio(self, t: AnyFloat) -> AnyFloat:
        """The noise-to-signal ratio sigma(t) / alpha(t), by which SDEs are compared.

        Args:
            t: times.
        """
        return self.sigma(t) / self.alpha(t)

    @abstractmethod
    def time(self, ratio: AnyFloat) -> AnyFloat:
        """The time at which the noise-to-signal ratio has a given value; inverts :meth:`ratio`.

        Args:
            ratio: noise-to-signal ratios sigma / alpha.
        """

    @abstractmethod
    def score_gain(self, s: AnyFloat, t: AnyFloat) -> AnyFloat:
        r"""The factor of a constant score in the exact reverse step from t to s < t:
        :math:`\int_s^t g(\tau)^2 \alpha(s)/\alpha(\tau)\,d\tau`.

        Args:
            s: times to go to.
            t: times to start from, in the shape of ``s``.
        """

    @property
    @abstractmethod
    def prior_std(self) -> float:
        r"""Standard deviation of :math:`\pi`, the Gaussian that stands for p_1."""

    def marginal(self, x0: State, t: Times, z: State) -> State:
        """The noisy state x_t = alpha(t) x_0 + sigma(t) z.

        Args:
            x0: clean data, (batch, ...).
            t: times, (batch,).
            z: standard normal noise in the shape of ``x0``.
        """
        return expand(self.alpha(t), x0) * x0 + expand(self.sigma(t), x0) * z

    def transition(self, s: AnyFloat, t: AnyFloat) -> tuple[AnyFloat, AnyFloat]:
        """The coefficients (a, b) of the exact forward step x_t = a x_s + b z.

        Args:
            s: times to start from.
            t: times to go to, in the shape of ``s``; t >= s.
        """
        a = self.alpha(t) / self.alpha(s)
        variance = self.sigma(t) ** 2 - (a * self.sigma(s)) ** 2
        return a, torch.sqrt(variance.clamp_min(0))

    def prior_sample(self, z: State) -> State:
        r"""A draw from :math:`\pi`.

        Args:
            z: standard normal noise, (batch, ...).
        """
        return self.prior_std * z

    def prior_logp(self, x: State) -> Times:
        r"""The log-density :math:`\log \pi(x)` in nats, (batch,).

        Args:
            x: states at time 1, (batch, ...).
        """
        d = x[0].numel()
        norm = d * math.log(2 * math.pi * self.prior_std**2)
        return -0.5 * (x.flatten(1).square().sum(1) / self.prior_std**2 + norm)


def expand(t: Tensor, like: Tensor) -> Tensor:
    """Add trailing axes to a per-sample value, so that it multiplies a batch of states.

    Args:
        t: one value per sample, (batch,).
        like: a batch of states, (batch, ...).
    """
    return t.reshape(t.shape + (1,) * (like.ndim - t.ndim))

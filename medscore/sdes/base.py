"""The interface of a forward SDE (Song 2022, Eq. 6.2 and Appendix B.2)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from medscore.types import AnyFloat, State, Times


class SDE(ABC):
    """A linear forward SDE with closed forms only. Times are tensors of any shape in [0, 1]."""

    eps: float
    """Smallest time at which sampling is solved; the marginal at ``eps`` stands for the data."""

    @abstractmethod
    def alpha(self, t: AnyFloat) -> AnyFloat:
        """Scale of the data in the perturbation kernel, Eq. B.18."""

    @abstractmethod
    def sigma(self, t: AnyFloat) -> AnyFloat:
        """Standard deviation of the noise in the perturbation kernel, Eq. B.18."""

    @abstractmethod
    def drift(self, t: AnyFloat) -> AnyFloat:
        """f(t), the drift being f(t) x."""

    @abstractmethod
    def diffusion(self, t: AnyFloat) -> AnyFloat:
        """g(t)."""

    def ratio(self, t: AnyFloat) -> AnyFloat:
        """The noise-to-signal ratio sigma(t) / alpha(t), which every SDE shares with the others."""
        return self.sigma(t) / self.alpha(t)

    @abstractmethod
    def time(self, ratio: AnyFloat) -> AnyFloat:
        """The time at which :meth:`ratio` equals ``ratio`` (the inverse noise schedule)."""

    @abstractmethod
    def score_gain(self, s: AnyFloat, t: AnyFloat) -> AnyFloat:
        r"""How much of a constant score the reverse SDE adds to the state from t to s < t:
        :math:`\int_s^t g(\tau)^2 \alpha(s)/\alpha(\tau)\,d\tau`.
        """

    @property
    @abstractmethod
    def prior_std(self) -> float:
        r"""Standard deviation of :math:`\pi`, the Gaussian that stands for p_1."""

    def marginal(self, x0: State, t: Times, z: State) -> State:
        """x_t = alpha(t) x_0 + sigma(t) z for one time per sample, shape of ``x0``."""
        return expand(self.alpha(t), x0) * x0 + expand(self.sigma(t), x0) * z

    def transition(self, s: AnyFloat, t: AnyFloat) -> tuple[AnyFloat, AnyFloat]:
        """(a, b) of the exact forward step x_t = a x_s + b z, for s < t."""
        a = self.alpha(t) / self.alpha(s)
        variance = self.sigma(t) ** 2 - (a * self.sigma(s)) ** 2
        return a, torch.sqrt(variance.clamp_min(0))

    def prior_sample(self, z: State) -> State:
        r"""Turn standard normal ``z`` into a draw from :math:`\pi`."""
        return self.prior_std * z

    def prior_logp(self, x: State) -> Times:
        r""":math:`\log \pi(x)` in nats, one value per sample."""
        d = x[0].numel()
        norm = d * math.log(2 * math.pi * self.prior_std**2)
        return -0.5 * (x.flatten(1).square().sum(1) / self.prior_std**2 + norm)


def expand(t: Tensor, like: Tensor) -> Tensor:
    """Give a per-sample value (batch,) trailing axes so that it multiplies ``like``."""
    return t.reshape(t.shape + (1,) * (like.ndim - t.ndim))

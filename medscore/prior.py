r"""A prior: the score of the noisy data distributions p_t, and its twin view the denoiser.

Tweedie's formula joins the two, for :math:`x_t = \alpha x_0 + \sigma z`:

.. math:: E[x_0 | x_t] = (x_t + \sigma^2 \nabla \log p_t(x_t)) / \alpha.

``denoise`` is primary (networks predict it, denoised-image conditioners refine it); ``score``
follows from it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor, nn

from medscore.contract import DataContract
from medscore.sde import SDE, expand
from medscore.types import State, Times


class Prior(ABC):
    """What every sampler needs to know about the data. One evaluation is one NFE."""

    sde: SDE

    @abstractmethod
    def denoise(self, x: State, t: Times) -> State:
        """E[x_0 | x_t = x], same shape as ``x``; ``t`` holds one time per sample."""

    def score(self, x: State, t: Times) -> State:
        r""":math:`\nabla_x \log p_t(x) = (\alpha D(x, t) - x) / \sigma^2`."""
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        return (alpha * self.denoise(x, t) - x) / sigma**2


@final
class NetworkPrior(Prior, nn.Module):
    r"""A trained network with EDM preconditioning (Karras et al. 2022, Table 1), on any SDE.

    With s = sigma/alpha and u = x/alpha - m, where m and d are the mean and the standard deviation
    of the data in the network's range,

    .. math:: D = m + \frac{d^2}{s^2 + d^2} u
              + \frac{s d}{\sqrt{s^2 + d^2}} F\!\left(\frac{u}{\sqrt{s^2 + d^2}}, \log s\right).

    Args:
        network: F(u, log_s) with u (batch, channel, H, W) and log_s (batch,).
        sde: the forward diffusion.
        contract: what the images are (modality, unit, range, size); ``None`` in unit tests.
        data_mean, data_std: m and d above.
    """

    def __init__(
        self,
        network: nn.Module,
        sde: SDE,
        contract: DataContract | None = None,
        *,
        data_mean: float = 0.0,
        data_std: float = 0.5,
    ) -> None:
        nn.Module.__init__(self)
        self.network, self.sde, self.contract = network, sde, contract
        self.data_mean, self.data_std = data_mean, data_std

    def denoise(self, x: State, t: Times) -> State:
        alpha, sigma = self.sde.alpha(t), self.sde.sigma(t)
        s = expand(sigma / alpha, x)
        u = x / expand(alpha, x) - self.data_mean
        total = torch.sqrt(s**2 + self.data_std**2)
        residual: Tensor = self.network(u / total, torch.log(sigma / alpha)).to(x.dtype)
        return (
            self.data_mean
            + (self.data_std / total) ** 2 * u
            + (s * self.data_std / total) * residual
        )

    def forward(self, x: State, t: Times) -> State:
        """The denoiser, so that module hooks and data-parallel wrappers see the call."""
        return self.denoise(x, t)

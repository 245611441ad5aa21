r"""A prior: the score of the noisy data distributions p_t, and its equivalent, the denoiser.

Tweedie's formula relates the two, for :math:`x_t = \alpha x_0 + \sigma z`:

.. math:: E[x_0 | x_t] = (x_t + \sigma^2 \nabla \log p_t(x_t)) / \alpha.

``denoise`` is primary (networks predict it, conditioners that work on the denoised image refine
it); ``score`` follows from it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from medscore.domain import ImageDomain
from medscore.sdes.base import SDE, expand
from medscore.types import State, Times


class Prior(ABC):
    """A score model on a forward diffusion; one call of ``denoise`` is one evaluation (NFE).

    Attributes:
        sde: the forward diffusion.
        domain: what the images are; needed to reconstruct measurements, not to sample.
    """

    sde: SDE
    domain: ImageDomain | None = None

    @abstractmethod
    def denoise(self, x: State, t: Times) -> State:
        """The posterior mean E[x_0 | x_t = x], in the shape of ``x``.

        Args:
            x: noisy images at time t, (batch, channel, H, W), in the network's range.
            t: times, (batch,).
        """

    def score(self, x: State, t: Times) -> State:
        r"""The score :math:`\nabla_x \log p_t(x) = (\alpha D(x, t) - x) / \sigma^2`.

        Args:
            x: noisy images at time t, (batch, channel, H, W), in the network's range.
            t: times, (batch,).
        """
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        return (alpha * self.denoise(x, t) - x) / sigma**2

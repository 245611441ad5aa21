r"""A prior: the score of the noisy data distributions p_t, and its equivalent, the denoiser.

Tweedie's formula relates the two, for :math:`x_t = \alpha x_0 + \sigma z`:

.. math:: E[x_0 | x_t] = (x_t + \sigma^2 \nabla \log p_t(x_t)) / \alpha.

``denoise`` is primary (networks predict it, conditioners that work on the denoised image refine
it); ``score`` follows from it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from medscore.sdes.base import SDE, expand
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

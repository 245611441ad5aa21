r"""A prior: the score of the noisy data distributions p_t, and its twin view the denoiser.

Tweedie's formula joins the two, for :math:`x_t = \alpha x_0 + \sigma z`:

.. math:: E[x_0 | x_t] = (x_t + \sigma^2 \nabla \log p_t(x_t)) / \alpha.

``denoise`` is primary (networks predict it, denoised-image conditioners refine it); ``score``
follows from it.
"""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

from medscore.priors.base import Prior
from medscore.priors.contract import DataContract
from medscore.priors.preconditioning import EDM, Condition, Preconditioning, log_ratio
from medscore.sdes.base import SDE, expand
from medscore.types import State, Times

UNIT = EDM()


@final
class NetworkPrior(Prior, nn.Module):
    """A network F behind one contract: the denoiser and the score at (x, t), on any SDE.

    Args:
        network: F(u, c) with u (batch, channel, H, W) and c (batch,).
        sde: the forward diffusion.
        contract: what the images are (modality, unit, range, size); ``None`` in unit tests.
        preconditioning: what F predicts, a row of :mod:`medscore.priors.preconditioning`.
        condition: what F is told of the time.
        data_mean: m of that module, the mean of the data in the network's range.
    """

    def __init__(
        self,
        network: nn.Module,
        sde: SDE,
        contract: DataContract | None = None,
        *,
        preconditioning: Preconditioning = UNIT,
        condition: Condition = log_ratio,
        data_mean: float = 0.0,
    ) -> None:
        nn.Module.__init__(self)
        self.network, self.sde, self.contract = network, sde, contract
        self.preconditioning, self.condition = preconditioning, condition
        self.data_mean = data_mean

    def denoise(self, x: State, t: Times) -> State:
        skip, out, into = (expand(c, x) for c in self.preconditioning(self.sde, t))
        u = x / expand(self.sde.alpha(t), x) - self.data_mean
        predicted: Tensor = self.network(into * u, self.condition(self.sde, t)).to(x.dtype)
        return self.data_mean + skip * u + out * predicted

    def forward(self, x: State, t: Times) -> State:
        """The denoiser, so that module hooks and data-parallel wrappers see the call."""
        return self.denoise(x, t)

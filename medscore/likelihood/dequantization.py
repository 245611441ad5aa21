r"""Variational dequantization with a flow (Song et al. 2022, Eq. 9.13; Ho et al. 2019).

A flow maps uniform noise v to noise u within the grey levels k, by affine couplings on the logits,

.. math:: u = \operatorname{sigmoid}(c_n \circ \dots \circ c_1(\operatorname{logit} v)), \qquad
          \log q(u|k) = -\log \left| \partial u / \partial v \right|,

each of which transforms one colour of a checkerboard; a small network computes scale and shift
from the other colour and from k. The untrained flow is uniform dequantization. It is trained on

.. math:: E[-\log p((k + u)/2^b) + \log q(u|k)], \qquad -\log p \le L^{DSM} + \text{(Eq. B.41)},

a bound on the negative log-likelihood, while the prior is fixed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from medscore.likelihood.bound import correction, denoising_bound
from medscore.objectives.grey_levels import Levels, uniform
from medscore.priors.base import Prior
from medscore.types import Images, Times


class Coupling(nn.Module):
    """An affine coupling on one colour of a checkerboard, initialised to the identity.

    Args:
        channels: channels of the images.
        hidden: channels of the network.
        colour: colour of the checkerboard that is transformed, 0 or 1.
    """

    def __init__(self, channels: int, hidden: int, colour: int) -> None:
        super().__init__()
        self.colour = colour
        self.body = nn.Sequential(
            nn.Conv2d(2 * channels, hidden, 3, padding=1), nn.SiLU(),
            nn.Conv2d(hidden, hidden, 3, padding=1), nn.SiLU(),
            nn.Conv2d(hidden, 2 * channels, 3, padding=1),
        )  # fmt: skip
        last = self.body[-1]
        assert isinstance(last, nn.Conv2d)
        nn.init.zeros_(last.weight)
        assert last.bias is not None
        nn.init.zeros_(last.bias)

    def forward(self, y: Images, context: Images) -> tuple[Images, Times]:
        """The transformed logits, and the log-determinant of the Jacobian.

        Args:
            y: logits.
            context: grey levels, scaled to -1 to 1.
        """
        rows = torch.arange(y.shape[2], device=y.device)[:, None]
        columns = torch.arange(y.shape[3], device=y.device)
        moves = ((rows + columns) % 2 == self.colour).to(y)
        log_scale, shift = self.body(
            torch.cat([torch.tanh(0.5 * y) * (1 - moves), context], 1)
        ).chunk(2, 1)
        log_scale = 3 * torch.tanh(log_scale / 3) * moves
        return y * torch.exp(log_scale) + shift * moves, log_scale.flatten(1).sum(1)


class DequantizationFlow(nn.Module):
    """q(u|k): samples of the noise within grey levels, with their density.

    Args:
        levels: the grey levels.
        channels: channels of the images.
        hidden: channels of the couplings' networks.
        couplings: number of couplings, of alternating colours; 0 is uniform dequantization.
    """

    def __init__(
        self, levels: Levels, channels: int = 1, hidden: int = 32, couplings: int = 4
    ) -> None:
        super().__init__()
        self.levels = levels
        self.network = nn.ModuleList(Coupling(channels, hidden, i % 2) for i in range(couplings))

    @torch.no_grad()
    def dequantise(self, k: Images, seeds: Sequence[int]) -> tuple[Images, Times]:
        """Images with noise drawn within their grey levels, and log q(u|k).

        Args:
            k: grey levels.
            seeds: one seed per image.
        """
        u, log_q = self(k, uniform(k, seeds))
        return self.levels.dequantise(k, u), log_q

    def forward(self, k: Images, v: Images) -> tuple[Images, Times]:
        """u and log q(u|k).

        Args:
            k: grey levels.
            v: uniform in (0, 1), in the shape of ``k``.
        """
        context = 2 * self.levels.dequantise(k, torch.full_like(k, 0.5)) - 1
        y = torch.logit(v)
        log_det = _log_slope(y, -1)
        for coupling in self.network:
            y, change = coupling(y, context)
            log_det = log_det + change
        log_det = log_det + _log_slope(y, 1)
        return torch.sigmoid(y), -log_det


def _log_slope(y: Images, power: int) -> Times:
    """Log-determinant of the sigmoid at y (power 1), or of its inverse (power -1)."""
    slope = -functional.softplus(y) - functional.softplus(-y)
    return power * slope.flatten(1).sum(1)


def dequantization_loss(
    flow: DequantizationFlow, prior: Prior, k: Images, v: Images, seeds: Sequence[int]
) -> Times:
    """One draw of the bound on -log P(k) in nats, differentiable in the flow's parameters.

    Args:
        flow: the dequantization flow.
        prior: the prior, whose weights are fixed.
        k: grey levels.
        v: uniform in (0, 1), in the shape of ``k``.
        seeds: one seed per image for the bound's times and noise.
    """
    u, log_q = flow(k, v)
    x = flow.levels.dequantise(k, u)
    bound = denoising_bound(prior, x, seeds, 1) + correction(prior, x, seeds, 1)
    return flow.levels.nats(bound.nats, log_q, x[0].numel())

r"""Embeddings of the condition c, one number per image that describes its noise level.

Random Fourier features (Tancik et al. 2020; NCSN++, B.5.8), for c = log sigma:

.. math:: [\sin 2 \pi w c, \cos 2 \pi w c], \qquad w \sim N(0, 16^2) \text{, fixed at the start};

sinusoidal positional embedding with d features (Ho et al. 2020; DDPM++), for c from 0 to 999:

.. math:: [\sin \omega_i c, \cos \omega_i c], \qquad \omega_i = 10^{-4 i/(d/2 - 1)}, \quad
          0 \le i < d/2.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medscore.types import Times

Features = Float[Tensor, "batch features"]


class FourierEmbedding(nn.Module):
    """``2 * count`` random Fourier features.

    Args:
        count: number of frequencies w, drawn from torch's global generator and not trained. They
            must not be rounded, since the phases reach hundreds of turns.
        scale: standard deviation of w.
    """

    frequencies: Tensor

    def __init__(self, count: int, scale: float = 16.0) -> None:
        super().__init__()
        self.register_buffer("frequencies", scale * torch.randn(count))

    def forward(self, c: Times) -> Features:
        """The features (batch, 2 count).

        Args:
            c: condition of each image, (batch,).
        """
        # in this order, so that large phases are rounded as in the published networks
        phase = c[:, None] * self.frequencies * 2 * math.pi
        return torch.cat([torch.sin(phase), torch.cos(phase)], dim=1)


class PositionalEmbedding(nn.Module):
    """A sinusoidal positional embedding.

    Args:
        features: number of features, even and above two.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features

    def forward(self, c: Times) -> Features:
        """The features (batch, features).

        Args:
            c: condition of each image, (batch,).
        """
        count = self.features // 2
        index = torch.arange(count, dtype=c.dtype, device=c.device)
        phase = c[:, None] * torch.exp(-math.log(10_000) / (count - 1) * index)
        return torch.cat([torch.sin(phase), torch.cos(phase)], dim=1)

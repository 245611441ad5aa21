r"""Instance normalisation that keeps the channel means (CondInstanceNorm++, Appendix B.3.1).

With mu_k and s_k the mean and standard deviation of channel k over the pixels, m and v the mean and
standard deviation of mu_k over the channels, and i the index of the noise scale,

.. math:: z_k = \gamma[i, k] \frac{x_k - \mu_k}{s_k} + \beta[i, k]
          + \alpha[i, k] \frac{\mu_k - m}{v}.

All layers here are called as ``layer(x, level)``, so that blocks work with any of them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def instance_norm_plus(
    x: Tensor, gamma: Tensor, beta: Tensor, alpha: Tensor, eps: float = 1e-5
) -> Tensor:
    """The formula above, computed at least in float32 and returned in the data type of ``x``.

    s is the population standard deviation and v the sample standard deviation; with one channel
    v = 0 and the last term vanishes.

    Args:
        x: features (batch, channel, H, W).
        gamma: scale, (batch or 1, channel).
        beta: shift, (batch or 1, channel).
        alpha: weight of the channel means, (batch or 1, channel).
        eps: is added to both variances.
    """
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mu = wide.mean((2, 3), keepdim=True)
    centred = wide - mu
    # torch.var_mean is shorter, but five times slower on a CPU
    s = torch.sqrt(centred.square().mean((2, 3), keepdim=True) + eps)
    between = mu - mu.mean(1, keepdim=True)
    freedom = max(x.shape[1] - 1, 1)
    v = torch.sqrt(between.square().sum(1, keepdim=True) / freedom + eps)
    gamma, beta, alpha = (p[..., None, None] for p in (gamma, beta, alpha))
    return torch.addcmul(beta + alpha * between / v, gamma / s, centred).to(x.dtype)


class CondInstanceNormPlus(nn.Module):
    """CondInstanceNorm++: separate gamma, beta and alpha for each noise scale.

    Args:
        channels: channels of the features.
        levels: number of noise scales.
    """

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(levels, channels).normal_(1.0, 0.02))
        self.beta = nn.Parameter(torch.zeros(levels, channels))
        self.alpha = nn.Parameter(torch.empty(levels, channels).normal_(1.0, 0.02))

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """The normalised features.

        Args:
            x: features (batch, channel, H, W).
            level: index of each sample's noise scale, (batch,), int64.

        Raises:
            IndexError: (on the CPU) an index is not in 0 to ``levels`` - 1.
        """
        gamma, beta, alpha = (
            functional.embedding(level, p) for p in (self.gamma, self.beta, self.alpha)
        )
        return instance_norm_plus(x, gamma, beta, alpha)


class InstanceNormPlus(nn.Module):
    """InstanceNorm++: CondInstanceNorm++ with one class (Appendix B.4.1).

    Args:
        channels: channels of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(channels).normal_(1.0, 0.02))
        self.beta = nn.Parameter(torch.zeros(channels))
        self.alpha = nn.Parameter(torch.empty(channels).normal_(1.0, 0.02))

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """The normalised features.

        Args:
            x: features (batch, channel, H, W).
            level: not used.
        """
        return instance_norm_plus(x, self.gamma[None], self.beta[None], self.alpha[None])


class NoNorm(nn.Module):
    """The identity, in place of a normalisation.

    Args:
        channels: not used.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """The features as they are.

        Args:
            x: features (batch, channel, H, W).
            level: not used.
        """
        return x

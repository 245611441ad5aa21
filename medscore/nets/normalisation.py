r"""Instance normalisation that keeps the channels' means (CondInstanceNorm++, Appendix B.3.1).

With mu_k and s_k the mean and standard deviation of channel k over the pixels, m and v those of
the mu_k over the channels, and i the number of the noise scale,

.. math:: z_k = \gamma[i, k] \frac{x_k - \mu_k}{s_k} + \beta[i, k]
          + \alpha[i, k] \frac{\mu_k - m}{v}.

Every layer here is called as ``layer(x, level)``, so that a block need not know which it holds.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def instance_norm_plus(
    x: Tensor, gamma: Tensor, beta: Tensor, alpha: Tensor, eps: float = 1e-5
) -> Tensor:
    """The formula above, computed in float32 or better and returned in the type of ``x``.

    s is the population's standard deviation, v the sample's (one channel has v = 0, and its last
    term vanishes); ``eps`` is added to both variances.

    Args:
        x: (batch, channel, H, W).
        gamma, beta, alpha: (batch or 1, channel).
    """
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mu = wide.mean((2, 3), keepdim=True)
    centred = wide - mu
    # torch.var_mean would say the same in one line, five times slower on a CPU.
    s = torch.sqrt(centred.square().mean((2, 3), keepdim=True) + eps)
    between = mu - mu.mean(1, keepdim=True)
    freedom = max(x.shape[1] - 1, 1)
    v = torch.sqrt(between.square().sum(1, keepdim=True) / freedom + eps)
    gamma, beta, alpha = (p[..., None, None] for p in (gamma, beta, alpha))
    return torch.addcmul(beta + alpha * between / v, gamma / s, centred).to(x.dtype)


class CondInstanceNormPlus(nn.Module):
    """CondInstanceNorm++: a row of gamma, beta and alpha for each of ``levels`` noise scales."""

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(levels, channels).normal_(1.0, 0.02))
        self.beta = nn.Parameter(torch.zeros(levels, channels))
        self.alpha = nn.Parameter(torch.empty(levels, channels).normal_(1.0, 0.02))

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """Args: x (batch, channel, H, W); level (batch,), the row of each sample, int64.

        Raises:
            IndexError: (CPU) a level that is not one of 0 to ``levels`` - 1.
        """
        gamma, beta, alpha = (
            functional.embedding(level, p) for p in (self.gamma, self.beta, self.alpha)
        )
        return instance_norm_plus(x, gamma, beta, alpha)


class InstanceNormPlus(nn.Module):
    """InstanceNorm++: CondInstanceNorm++ with one class (Appendix B.4.1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(channels).normal_(1.0, 0.02))
        self.beta = nn.Parameter(torch.zeros(channels))
        self.alpha = nn.Parameter(torch.empty(channels).normal_(1.0, 0.02))

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """Args: x (batch, channel, H, W); level is not used."""
        return instance_norm_plus(x, self.gamma[None], self.beta[None], self.alpha[None])


class NoNorm(nn.Module):
    """No normalisation, where a layer is expected."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """``x`` itself."""
        return x

r"""Priors known in closed form: the oracles every sampler and conditioner is proven against.

Data distributed as a mixture of Gaussians :math:`\sum_k w_k N(m_k, C_k)` stay one under a linear
SDE: :math:`p_t = \sum_k w_k N(\alpha m_k, \alpha^2 C_k + \sigma^2 I)`. So score, denoiser, density
and the posterior given linear measurements are exact. States may have any shape with D numbers.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from medscore.priors.base import Prior
from medscore.sdes.base import SDE
from medscore.types import State, Times


class GMMPrior(Prior):
    """A mixture of K Gaussians with full covariances.

    Args:
        sde: the forward diffusion. weights: (K,), positive; they are normalised.
        means: (K, D). covariances: (K, D, D), symmetric positive semi-definite.

    Raises:
        ValueError: shapes that do not fit, or a weight that is not positive.
    """

    def __init__(self, sde: SDE, weights: Tensor, means: Tensor, covariances: Tensor) -> None:
        k, d = means.shape
        if weights.shape != (k,) or covariances.shape != (k, d, d):
            raise ValueError(
                f"shapes {tuple(weights.shape)}, {tuple(means.shape)}, "
                f"{tuple(covariances.shape)} are not (K,), (K, D), (K, D, D)"
            )
        if not bool((weights > 0).all()):
            raise ValueError(f"weights must be positive, got {weights.tolist()}")
        self.sde, self.weights = sde, weights / weights.sum()
        self.means, self.covariances = means, covariances
        self.values, self.vectors = torch.linalg.eigh(covariances)
        self.values = self.values.clamp_min(0)

    def denoise(self, x: State, t: Times) -> State:
        alpha, variance, centred, logs = self._components(x, t)
        gain = alpha * self.values / variance
        each = self.means + torch.einsum("kde,bke->bkd", self.vectors, gain * centred)
        return torch.einsum("bk,bkd->bd", torch.softmax(logs, 1), each).reshape(x.shape)

    def score(self, x: State, t: Times) -> State:
        # not from the denoiser: at small sigma that difference has no digits left in float32
        _, variance, centred, logs = self._components(x, t)
        each = torch.einsum("kde,bke->bkd", self.vectors, centred / variance)
        return -torch.einsum("bk,bkd->bd", torch.softmax(logs, 1), each).reshape(x.shape)

    def log_density(self, x: State, t: Times) -> Times:
        """log p_t(x) in nats, one value per sample."""
        return torch.logsumexp(self._components(x, t)[3], 1)

    def responsibilities(self, x: State, t: Times) -> Tensor:
        """The probability of each component given x_t = x, (batch, K)."""
        return torch.softmax(self._components(x, t)[3], 1)

    def sample(self, n: int, t: float, generator: torch.Generator) -> Tensor:
        """Exact draws (n, D) from p_t, made on the CPU whatever the device."""
        like = self.means
        shares = self.weights.cpu()
        k = torch.multinomial(shares, n, replacement=True, generator=generator).to(like.device)
        z = torch.randn(n, like.shape[1], generator=generator, dtype=like.dtype).to(like.device)
        time = torch.tensor(t, dtype=like.dtype, device=like.device)
        alpha, sigma = self.sde.alpha(time), self.sde.sigma(time)
        std = torch.sqrt(alpha**2 * self.values + sigma**2)[k]
        draws: Tensor = alpha * like[k] + torch.einsum("nde,ne->nd", self.vectors[k], std * z)
        return draws

    def marginal(self, t: float) -> tuple[Tensor, Tensor]:
        """Mean (D,) and covariance (D, D) of p_t."""
        time = torch.tensor(t, dtype=self.means.dtype, device=self.means.device)
        alpha, sigma = self.sde.alpha(time), self.sde.sigma(time)
        mean = self.weights @ self.means
        apart = self.means - mean
        spread = torch.einsum("k,kd,ke->de", self.weights, apart, apart)
        within = torch.einsum("k,kde->de", self.weights, self.covariances)
        eye = torch.eye(len(mean), dtype=mean.dtype, device=mean.device)
        return alpha * mean, alpha**2 * (spread + within) + sigma**2 * eye

    def posterior(self, matrix: Tensor, y: Tensor, noise_std: float) -> GMMPrior:
        r"""The data's distribution given :math:`y = A x_0 + n`, n ~ N(0, noise_std^2 I).

        Args:
            matrix: A (M, D). y: (M,). noise_std: 0 for noise-free measurements, if A C A^T is
                invertible.

        Raises:
            torch.linalg.LinAlgError: it is not.
        """
        eye = torch.eye(len(y), dtype=y.dtype, device=y.device)
        means, covariances, logs = [], [], []
        for weight, m, c in zip(self.weights, self.means, self.covariances, strict=True):
            s = matrix @ c @ matrix.T + noise_std**2 * eye
            gain = torch.linalg.solve(s, matrix @ c).T
            means.append(m + gain @ (y - matrix @ m))
            left = c - gain @ matrix @ c
            covariances.append((left + left.T) / 2)
            normal = torch.distributions.MultivariateNormal(matrix @ m, s)
            logs.append(torch.log(weight) + normal.log_prob(y))
        shares = torch.softmax(torch.stack(logs), 0).clamp_min(torch.finfo(y.dtype).tiny)
        return GMMPrior(self.sde, shares, torch.stack(means), torch.stack(covariances))

    def _components(self, x: State, t: Times) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """alpha (batch, 1, 1); the variances of component k of p_t and x - alpha m_k in the axes of
        C_k, (batch, K, D); and log w_k N(x; alpha m_k, alpha^2 C_k + sigma^2 I), (batch, K).
        """
        alpha, sigma = self.sde.alpha(t)[:, None, None], self.sde.sigma(t)[:, None, None]
        apart = x.flatten(1)[:, None] - alpha * self.means
        centred = torch.einsum("bkd,kde->bke", apart, self.vectors)
        variance = alpha**2 * self.values + sigma**2
        square = centred.square() / variance + torch.log(variance) + math.log(2 * math.pi)
        return alpha, variance, centred, torch.log(self.weights) - 0.5 * square.sum(2)


@final
class GaussianPrior(GMMPrior):
    r"""Data distributed as N(m, C): the mixture of one, whose score is linear.

    .. math:: E[x_0 | x_t] = m + \alpha C (\alpha^2 C + \sigma^2 I)^{-1} (x_t - \alpha m).

    Args:
        sde: the forward diffusion. mean: (D,). covariance: (D, D), symmetric, semi-definite.
    """

    def __init__(self, sde: SDE, mean: Tensor, covariance: Tensor) -> None:
        super().__init__(sde, mean.new_ones(1), mean[None], covariance[None])

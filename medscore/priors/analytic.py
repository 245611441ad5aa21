r"""Gaussian priors with closed-form scores, against which samplers and conditioners are tested.

Under a linear SDE a mixture of Gaussians :math:`\sum_k w_k N(m_k, C_k)` remains a mixture of
Gaussians, :math:`p_t = \sum_k w_k N(\alpha m_k, \alpha^2 C_k + \sigma^2 I)`. The score, the
denoiser, the density and the posterior given linear measurements are therefore exact. States may
have any shape with D values.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from medscore.priors.base import Prior
from medscore.sdes.base import SDE
from medscore.types import State, Times
from medscore.uncertainty.low_rank import DiagonalLowRank


class GMMPrior(Prior):
    """A mixture of K Gaussians with full covariance matrices.

    Args:
        sde: the forward diffusion.
        weights: positive weights of the components, (K,); they are normalised to sum 1.
        means: means of the components, (K, D).
        covariances: symmetric positive semi-definite covariance matrices, (K, D, D).

    Raises:
        ValueError: inconsistent shapes, or a weight that is not positive.
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
        # computed directly: the difference alpha D - x loses all digits at small sigma in float32
        _, variance, centred, logs = self._components(x, t)
        each = torch.einsum("kde,bke->bkd", self.vectors, centred / variance)
        return -torch.einsum("bk,bkd->bd", torch.softmax(logs, 1), each).reshape(x.shape)

    def covariance(self, x: State, t: Times) -> Tensor:
        r"""The posterior covariance Cov[x_0 | x_t = x], (batch, D, D).

        It is :math:`\sum_k r_k (C_k' + m_k' m_k'^T) - D D^T`, with the posterior probability r_k,
        covariance C_k' and mean m_k' of each component.

        Args:
            x: states at time t, (batch, ...).
            t: times, (batch,).
        """
        shares, _, apart, left = self._given(x, t)
        within = torch.einsum("bk,kde,bke,kfe->bdf", shares, self.vectors, left, self.vectors)
        return within + torch.einsum("bk,bkd,bkf->bdf", shares, apart, apart)

    @property
    def has_covariance(self) -> bool:
        return True

    def denoise_with_covariance(self, x: State, t: Times) -> tuple[State, DiagonalLowRank]:
        """The mean of x_0 given x_t = x, and the exact covariance in factors of rank K (D + 1)."""
        shares, mean, apart, left = self._given(x, t)
        within = torch.einsum("bke,kde->bked", _root(shares[..., None] * left), self.vectors)
        between = _root(shares)[..., None] * apart
        factors = torch.cat([within.flatten(1, 2), between], 1).reshape(len(x), -1, *x.shape[1:])
        return mean.reshape(x.shape), DiagonalLowRank(torch.zeros_like(x), factors)

    def _given(self, x: State, t: Times) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Moments of x_0 given x_t: shares r_k; mean; the m_k' less it; eigenvalues of C_k'.

        Their shapes are (batch, K), (batch, D), (batch, K, D) and (batch, K, D).
        """
        alpha, variance, centred, logs = self._components(x, t)
        shares = torch.softmax(logs, 1)
        gain = alpha * self.values / variance
        each = self.means + torch.einsum("kde,bke->bkd", self.vectors, gain * centred)
        mean = torch.einsum("bk,bkd->bd", shares, each)
        left = self.values * self.sde.sigma(t)[:, None, None] ** 2 / variance
        return shares, mean, each - mean[:, None], left

    def log_density(self, x: State, t: Times) -> Times:
        """The log-density log p_t(x) in nats, (batch,).

        Args:
            x: states at time t, (batch, ...).
            t: times, (batch,).
        """
        return torch.logsumexp(self._components(x, t)[3], 1)

    def responsibilities(self, x: State, t: Times) -> Tensor:
        """The posterior probability of each component given x_t = x, (batch, K).

        Args:
            x: states at time t, (batch, ...).
            t: times, (batch,).
        """
        return torch.softmax(self._components(x, t)[3], 1)

    def sample(self, n: int, t: float, generator: torch.Generator) -> Tensor:
        """Exact samples (n, D) from p_t; random numbers are drawn on the CPU for every device.

        Args:
            n: number of samples.
            t: time.
            generator: random number generator on the CPU.
        """
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
        """The mean (D,) and the covariance matrix (D, D) of p_t.

        Args:
            t: time.
        """
        time = torch.tensor(t, dtype=self.means.dtype, device=self.means.device)
        alpha, sigma = self.sde.alpha(time), self.sde.sigma(time)
        mean = self.weights @ self.means
        apart = self.means - mean
        spread = torch.einsum("k,kd,ke->de", self.weights, apart, apart)
        within = torch.einsum("k,kde->de", self.weights, self.covariances)
        eye = torch.eye(len(mean), dtype=mean.dtype, device=mean.device)
        return alpha * mean, alpha**2 * (spread + within) + sigma**2 * eye

    def posterior(self, matrix: Tensor, y: Tensor, noise_std: float) -> GMMPrior:
        r"""The posterior of the data given :math:`y = A x_0 + n` with n ~ N(0, noise_std^2 I).

        Args:
            matrix: A, (M, D).
            y: measurements, (M,).
            noise_std: noise standard deviation; it may be 0 if A C A^T is invertible.

        Raises:
            torch.linalg.LinAlgError: A C A^T + noise_std^2 I is singular.
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
        """Quantities of each component of p_t, with vectors in the eigenbasis of C_k.

        Returns:
            alpha (batch, 1, 1); the variances alpha^2 C_k + sigma^2 (batch, K, D); x - alpha m_k
            (batch, K, D); and log w_k N(x; alpha m_k, alpha^2 C_k + sigma^2 I) (batch, K).
        """
        alpha, sigma = self.sde.alpha(t)[:, None, None], self.sde.sigma(t)[:, None, None]
        apart = x.flatten(1)[:, None] - alpha * self.means
        centred = torch.einsum("bkd,kde->bke", apart, self.vectors)
        variance = alpha**2 * self.values + sigma**2
        square = centred.square() / variance + torch.log(variance) + math.log(2 * math.pi)
        return alpha, variance, centred, torch.log(self.weights) - 0.5 * square.sum(2)


@final
class GaussianPrior(GMMPrior):
    r"""A Gaussian prior N(m, C), whose score is affine in the state.

    .. math:: E[x_0 | x_t] = m + \alpha C (\alpha^2 C + \sigma^2 I)^{-1} (x_t - \alpha m).

    Args:
        sde: the forward diffusion.
        mean: mean of the data, (D,).
        covariance: symmetric positive semi-definite covariance matrix, (D, D).
    """

    def __init__(self, sde: SDE, mean: Tensor, covariance: Tensor) -> None:
        super().__init__(sde, mean.new_ones(1), mean[None], covariance[None])


def _root(x: Tensor) -> Tensor:
    """The square root of numbers >= 0, whose derivative is finite at 0 too."""
    return x.clamp_min(torch.finfo(x.dtype).tiny).sqrt()

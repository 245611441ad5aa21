"""Priors known in closed form: the oracles every sampler and conditioner is proven against."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from medscore.prior import Prior
from medscore.sde import SDE
from medscore.types import State, Times


@final
class GaussianPrior(Prior):
    r"""Data distributed as N(m, C), so that p_t is N(alpha m, alpha^2 C + sigma^2 I).

    .. math:: E[x_0 | x_t] = m + \alpha C (\alpha^2 C + \sigma^2 I)^{-1} (x_t - \alpha m).

    Args:
        sde: the forward diffusion. mean: (D,). covariance: (D, D), symmetric positive definite.
        States may have any shape with D numbers per sample.
    """

    def __init__(self, sde: SDE, mean: Tensor, covariance: Tensor) -> None:
        self.sde, self.mean, self.covariance = sde, mean, covariance
        self.values, self.vectors = torch.linalg.eigh(covariance)

    def denoise(self, x: State, t: Times) -> State:
        alpha, sigma = self.sde.alpha(t)[:, None], self.sde.sigma(t)[:, None]
        centred = (x.flatten(1) - alpha * self.mean) @ self.vectors
        gain = alpha * self.values / (alpha**2 * self.values + sigma**2)
        denoised: Tensor = self.mean + (gain * centred) @ self.vectors.T
        return denoised.reshape(x.shape)

    def marginal(self, t: float) -> tuple[Tensor, Tensor]:
        """Mean (D,) and covariance (D, D) of p_t."""
        time = torch.tensor(t, dtype=self.mean.dtype)
        alpha, sigma = self.sde.alpha(time), self.sde.sigma(time)
        eye = torch.eye(len(self.mean), dtype=self.mean.dtype)
        return alpha * self.mean, alpha**2 * self.covariance + sigma**2 * eye

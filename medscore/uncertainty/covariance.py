r"""The covariance of the clean image given the noisy one, by automatic differentiation.

For :math:`x_t = \alpha x_0 + \sigma z` and the exact denoiser D (Song 2022, Eq. 4.18, which has
alpha = 1),

.. math:: \operatorname{Cov}[x_0 | x_t]
          = \frac{\sigma^2}{\alpha^2} (I + \sigma^2 \nabla^2 \log p_t(x_t))
          = \frac{\sigma^2}{\alpha} \frac{\partial D}{\partial x_t}.

The Jacobian J of an exact denoiser is symmetric; that of a network is only nearly so. The methods
state whether they use J^T, which costs one backward pass, or the symmetric part of J, which costs
about four. The diagonal and the quadratic forms v^T J v are the same for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from medscore.priors.base import Prior, like
from medscore.priors.derivative import check_graph, differentiable, pull_back, push_forward
from medscore.sdes.base import expand
from medscore.types import State, Times
from medscore.white_noise import Noise


@final
@dataclass(frozen=True)
class PosteriorCovariance:
    """Cov[x_0 | x_t] of each sample as a linear map, from one evaluation of a prior.

    It holds the graph of that evaluation, so that each further product costs backward passes only.

    Attributes:
        leaf: states x_t, (batch, ...).
        graph: denoised images D with their graph, (batch, ...).
        gain: sigma^2 / alpha, broadcastable to ``leaf``.
    """

    leaf: State
    graph: State
    gain: Tensor

    @classmethod
    def at(cls, prior: Prior, x: State, t: Times) -> PosteriorCovariance:
        """The covariance at given states; one evaluation of the prior.

        Args:
            prior: any prior whose denoised image is differentiable.
            x: states x_t, (batch, ...).
            t: times, (batch,).

        Raises:
            MedscoreError: the denoised image has another shape, or no derivative.
        """
        leaf, graph = differentiable(prior, x, t)
        graph = like(x, graph, f"`denoise` of the prior {type(prior).__name__}")
        check_graph(graph, prior)
        return cls(leaf, graph, expand(prior.sde.sigma(t) ** 2 / prior.sde.alpha(t), x))

    @cached_property
    def mean(self) -> Tensor:
        """The posterior mean D, (batch, ...)."""
        return self.graph.detach()

    def product(self, v: State) -> Tensor:
        """(sigma^2 / alpha) J^T v; one backward pass.

        Args:
            v: vectors, (batch, ...).
        """
        return self.gain * pull_back(self.graph, self.leaf, v, keep=True)

    def symmetric_product(self, v: State) -> Tensor:
        """(sigma^2 / alpha) (J + J^T) v / 2; about four backward passes.

        Args:
            v: vectors, (batch, ...).
        """
        forward = self.gain * push_forward(self.graph, self.leaf, v)
        return (forward + self.product(v)) / 2

    def diagonal(self, noise: Noise, probes: int) -> Tensor:
        r"""An unbiased estimate of the diagonal, the mean of :math:`v \odot \Sigma v` over signs v.

        The diagonal itself has the weight 1 in every probe, so that only the correlations add
        noise: the standard error is that of their root sum of squares over sqrt(probes). An
        estimate may be negative.

        Args:
            noise: draws the signs, for each sample from a generator of its own.
            probes: number of probes; one backward pass each.
        """
        total = torch.zeros_like(self.leaf)
        for _ in range(probes):
            v = torch.where(noise(self.leaf) < 0, -1.0, 1.0).to(self.leaf)
            total += v * self.product(v)
        return total / probes

    def exact_diagonal(self) -> Tensor:
        """The diagonal by one backward pass for each of the D numbers, for small states."""
        found = torch.zeros_like(self.leaf).flatten(1)
        for i in range(found.shape[1]):
            v = torch.zeros_like(found)
            v[:, i] = 1
            found[:, i] = self.product(v.reshape(self.leaf.shape)).flatten(1)[:, i]
        return found.reshape(self.leaf.shape)


def covariance_product(prior: Prior, x: State, t: Times, v: State) -> Tensor:
    r"""The covariance times a vector, :math:`(\sigma^2/\alpha)\, (\partial D/\partial x)^T v`.

    Args:
        prior: any prior whose denoised image is differentiable.
        x: states x_t, (batch, ...).
        t: times, (batch,).
        v: vectors in the shape of ``x``.

    Raises:
        MedscoreError: as :meth:`PosteriorCovariance.at`.
    """
    return PosteriorCovariance.at(prior, x, t).product(v)


def covariance_diagonal(
    prior: Prior, x: State, t: Times, noise: Noise, *, probes: int = 16
) -> Tensor:
    """The posterior variance of each number, estimated with random signs, (batch, ...).

    Sample i does not depend on the other samples of the batch.

    Args:
        prior: any prior whose denoised image is differentiable.
        x: states x_t, (batch, ...).
        t: times, (batch,).
        noise: draws the signs, for each sample from a generator of its own.
        probes: number of probes; one backward pass each.

    Raises:
        MedscoreError: as :meth:`PosteriorCovariance.at`.
    """
    return PosteriorCovariance.at(prior, x, t).diagonal(noise, probes)

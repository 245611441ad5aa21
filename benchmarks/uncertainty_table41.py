"""Table 4.1 of the dissertation in 20 dimensions: the error of the second-order score.

The data are Gaussian with six common factors of decreasing strength, so their Hessian is a diagonal
plus six vectors. A network of the score is trained by denoising score matching with and without the
control variate, and differentiated. A second network, of a diagonal plus few vectors, is trained by
second-order score matching with antithetic noise on the score of the better first one. The table
has the squared Frobenius norm of the error of s_2, averaged over held-out points; the text reports
43.80, 9.40, and 7.12, 5.24 and 1.76 for the ranks 15, 20 and 30 in 100 dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from number import Number
from torch import Tensor, nn
from uncertainty_settings import Settings

from medscore.objectives.score_matching import Score
from medscore.objectives.second_order import antithetic_loss
from medscore.objectives.symmetric import Symmetric
from medscore.objectives.variance_reduction import denoising_vr
from medscore.uncertainty.low_rank import DiagonalLowRank

D, FACTORS, SIGMA = 20, 6, 0.1
STEPS, BATCH, RATE, POINTS = 2500, 128, 2e-3, 500
RANKS = (3, 4, 6)
"""The shares of 20 dimensions that 15, 20 and 30 have of 100."""


def covariance() -> Tensor:
    """The covariance of the data: own variances plus six factors, the first the strongest."""
    generator = torch.Generator().manual_seed(1)
    loadings = torch.randn(D, FACTORS, generator=generator)
    strength = torch.tensor([1.5, 1.3, 1.1, 0.25, 0.2, 0.15])
    own = 0.25 + 0.25 * torch.rand(D, generator=generator)
    return torch.diag(own) + (loadings * strength) @ (loadings * strength).T / FACTORS


def mlp(outputs: int) -> nn.Sequential:
    """A network of two hidden layers."""
    return nn.Sequential(
        nn.Linear(D, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, outputs)
    )


def train(network: nn.Module, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Adam with a learning rate that falls to zero, on fresh draws of data and noise.

    Args:
        network: the network.
        loss: the loss of each sample, of clean data and noise.
    """
    root, generator = torch.linalg.cholesky(covariance()), torch.Generator().manual_seed(2)
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE)
    for step in range(STEPS):
        optimiser.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
        x, z = torch.randn(2, BATCH, D, generator=generator)
        optimiser.zero_grad()
        loss(x @ root.T, z).mean().backward()
        optimiser.step()


def trained_score(variance_reduced: bool) -> Score:
    """A network of the score of the noisy data.

    Args:
        variance_reduced: use the control variate.
    """
    torch.manual_seed(0)
    network = mlp(D)

    def plain(x: Tensor, z: Tensor) -> Tensor:
        return 0.5 * (network(x + SIGMA * z) + z / SIGMA).square().sum(1)

    train(network, (lambda x, z: denoising_vr(network, x, z, SIGMA)) if variance_reduced else plain)
    network.requires_grad_(False)
    return network


def trained_hessian(score: Score, rank: int) -> Callable[[Tensor], DiagonalLowRank]:
    """A network of K = I + sigma^2 s_2, of a diagonal plus low rank.

    Args:
        score: the first-order score.
        rank: number of vectors.
    """
    torch.manual_seed(0)
    network = mlp((1 + rank) * D)

    def k(x: Tensor) -> DiagonalLowRank:
        h, g = network(x).split([D, rank * D], dim=1)
        return DiagonalLowRank(torch.exp(SIGMA**2 * h), SIGMA * g.unflatten(1, (rank, D)))

    def loss(x: Tensor, z: Tensor) -> Tensor:
        places = (x + SIGMA * z, x - SIGMA * z, x)
        plus, minus, still = ((k(y), -SIGMA * score(y)) for y in places)
        return antithetic_loss(plus, minus, still, z, "low_rank") / SIGMA**4

    train(network, loss)
    return k


def numbers(_: Settings) -> Iterator[Number]:
    """The errors, each of which must be below the one before."""
    total = covariance() + SIGMA**2 * torch.eye(D)
    exact = -torch.linalg.inv(total)
    generator = torch.Generator().manual_seed(3)
    points = torch.randn(POINTS, D, generator=generator) @ torch.linalg.cholesky(total).T

    def gradient(score: Score) -> float:
        jacobian = torch.func.vmap(torch.func.jacrev(lambda y: score(y[None])[0]))(points)
        return float((jacobian - exact).square().sum((1, 2)).mean())

    before = gradient(trained_score(variance_reduced=False))
    yield Number(f"squared norm of the exact s_2 in {D} dimensions", float(exact.square().sum()))
    yield Number("squared error of s_2: gradient of s_1, DSM", before)
    score = trained_score(variance_reduced=True)
    found = gradient(score)
    yield Number("squared error of s_2: gradient of s_1, DSM-VR", found, "", None, before)
    for rank in RANKS:
        before, k = found, trained_hessian(score, rank)
        with torch.no_grad():
            matrix = Symmetric.of(k(points), -1.0)
        low = torch.einsum("nkd,nke->nde", matrix.vectors, matrix.vectors)
        estimate = (torch.diag_embed(matrix.diagonal) + low) / SIGMA**2
        found = float((estimate - exact).square().sum((1, 2)).mean())
        yield Number(f"squared error of s_2: D2SM of rank {rank}", found, "", None, before)

"""Eq. B.8 on geometric Brownian motion, where the distribution of x_t is known.

With dx = 0.1 x dt + 0.5 x dw in two dimensions and log-normal x_0, log x_t is normal with mean
m + (0.1 - 0.5^2 / 2) t and variance v + 0.5^2 t. The model s = (A log x + b) / x contains the true
score at T, with A = -I / variance and b = mean / variance - 1. It also has a factor t / T, which
shows whether it is evaluated at the right time.
"""

import math
from collections.abc import Callable

import pytest
import torch
from support import SharedNoise
from torch import Tensor

from medscore.objectives.sliced import Projection, gaussian, rademacher, sphere
from medscore.objectives.sliced_sde import SlicedSDE
from medscore.sdes.general import GeneralSDE

RATE, VOLATILITY, MEAN, VARIANCE = 0.1, 0.5, 0.2, 0.09
GBM = GeneralSDE(lambda x, t: RATE * x, lambda x, t: VOLATILITY * x)
N, STEPS, T = 100_000, 60, 0.8
THETA = torch.tensor([-1.0, 0.8, 0.5, -2.0, 1.5, -0.8], dtype=torch.float64)


def weighting(t: float) -> float:
    return 0.5 + 2 * t


def law(t: float) -> tuple[float, float]:
    """Mean and variance of log x_t."""
    return MEAN + (RATE - VOLATILITY**2 / 2) * t, VARIANCE + VOLATILITY**2 * t


def start() -> Tensor:
    noise = SharedNoise(0)(torch.zeros(N, 2, dtype=torch.float64))
    return torch.exp(MEAN + math.sqrt(VARIANCE) * noise)


def model(theta: Tensor) -> Callable[[Tensor, float], Tensor]:
    matrix, shift = theta[:, :4].reshape(-1, 2, 2), theta[:, 4:]
    return lambda x, t: (torch.einsum("bij,bj->bi", matrix, torch.log(x)) + shift) / x * (t / T)


def slopes(loss: Callable[[Callable[[Tensor, float], Tensor]], Tensor], theta: Tensor) -> Tensor:
    """Gradients of the loss of each sample, (N, 6)."""
    each = theta.expand(N, -1).clone().requires_grad_()
    loss(model(each)).sum().backward()
    assert each.grad is not None
    return each.grad


def sliced(draw: Projection, theta: Tensor) -> Tensor:
    x0 = start()
    v = draw(x0, 1, torch.Generator().manual_seed(2))
    objective = SlicedSDE(GBM, STEPS, weighting)
    return slopes(lambda score: objective(score, x0, T, SharedNoise(1), v), theta)


def fisher() -> Tensor:
    """The gradient of lambda E |s - grad log p_t|^2 / 2 in closed form, (6,).

    With y = log x the difference is (R y + r) / x, and E[f(y) / x_i^2] is exp(2 v - 2 m) times
    E[f] with the mean of y_i lowered by 2 v.
    """
    mean, variance = law(T)
    matrix = THETA[:4].reshape(2, 2) + torch.eye(2).double() / variance
    shift = THETA[4:] + 1 - mean / variance
    by_matrix, by_shift = torch.zeros(2, 2).double(), torch.zeros(2).double()
    for i in range(2):
        moved = torch.full((2,), mean, dtype=torch.float64)
        moved[i] -= 2 * variance
        second = torch.outer(moved, moved) + variance * torch.eye(2).double()
        scale = (0.5 + 2 * T) * math.exp(2 * variance - 2 * mean)
        by_matrix[i] = scale * (matrix[i] @ second + shift[i] * moved)
        by_shift[i] = scale * (matrix[i] @ moved + shift[i])
    return torch.cat([by_matrix.flatten(), by_shift])


@pytest.mark.parametrize("draw", [gaussian, rademacher, sphere])
def test_the_gradient_is_that_of_the_weighted_fisher_divergence(
    draw: Projection, proven: Callable[..., None]
) -> None:
    """Within 6 standard errors, plus 1 % of the largest number for the bias of the simulation."""
    found = sliced(draw, THETA)
    proven(found, fisher().expand_as(found), slack=0.01)


@pytest.mark.parametrize("draw", [gaussian, rademacher, sphere])
def test_at_the_true_score_the_gradient_vanishes(
    draw: Projection, agree: Callable[..., bool]
) -> None:
    """Within the same bounds as at THETA."""
    mean, variance = law(T)
    truth = torch.tensor([-1 / variance, 0, 0, -1 / variance, *2 * [mean / variance - 1]])
    found = sliced(draw, truth.double())
    assert agree(found + fisher(), fisher().expand_as(found), slack=0.01)


def test_only_the_start_and_the_noise_of_a_sample_reach_its_loss() -> None:
    """No gradient flows to x0, and half a batch has the same losses."""
    x0 = start()[:6].requires_grad_()
    objective, noise = SlicedSDE(GBM, 3, weighting), torch.zeros(3, 6, 2, dtype=torch.float64)
    noise += torch.randn(noise.shape, generator=torch.Generator().manual_seed(4))
    v = gaussian(x0, 2, torch.Generator().manual_seed(5))

    def losses(rows: slice) -> Tensor:
        theta = THETA.expand(len(x0[rows]), -1).clone().requires_grad_()
        return objective(model(theta), x0[rows], T, PrescribedNoise(noise[:, rows]), v[:, rows])

    whole, part = losses(slice(0, 6)), losses(slice(2, 4))
    torch.testing.assert_close(part, whole[2:4])
    whole.sum().backward()
    assert x0.grad is None


class PrescribedNoise(SharedNoise):
    """Noise with prescribed draws, one after another."""

    def __init__(self, draws: Tensor) -> None:
        self.draws = iter(draws)

    def __call__(self, like: Tensor) -> Tensor:
        return next(self.draws)

"""Exact and sliced score matching find the score of the data.

For an affine score s = A x + b every objective is quadratic in (A, b), so one Newton step ends at
the minimiser. For exact score matching it is A = -S^-1, b = S^-1 m with the mean m and covariance S
of the sample.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from medscore.objectives.score_matching import exact_score_matching
from medscore.objectives.sliced import (
    Projection,
    gaussian,
    rademacher,
    sliced_score_matching,
    sliced_score_matching_vr,
    sphere,
)

D = 3
MEAN = torch.tensor([0.5, -1.0, 0.2], dtype=torch.float64)
ROOT = torch.tensor([[0.8, 0.0, 0.0], [0.3, 0.5, 0.0], [-0.2, 0.4, 0.6]], dtype=torch.float64)
PROJECTIONS: list[Projection] = [gaussian, rademacher, sphere]
Loss = Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]
"""Maps a score model and data to the loss of each sample."""


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sample(n: int, seed: int = 0) -> Tensor:
    return MEAN + torch.randn(n, D, generator=generator(seed), dtype=torch.float64) @ ROOT.T


def affine(theta: Tensor) -> Callable[[Tensor], Tensor]:
    """theta (batch or 1, D (D + 1)): the rows of A, then b."""
    matrix, shift = theta[:, : D * D].reshape(-1, D, D), theta[:, D * D :]
    return lambda x: torch.einsum("bij,bj->bi", matrix.expand(len(x), D, D), x) + shift


def slopes(loss: Loss, x: Tensor, theta: Tensor) -> Tensor:
    """The gradient of the loss of each sample at theta (P,), (batch, P)."""
    each = theta.expand(len(x), -1).clone().requires_grad_()
    loss(affine(each), x).sum().backward()
    assert each.grad is not None
    return each.grad


def curvature(loss: Loss, x: Tensor, theta: Tensor) -> Tensor:
    """The Hessian of the mean loss by differences, exact for a quadratic loss."""
    base = slopes(loss, x, theta).mean(0)
    moved = [slopes(loss, x, theta + axis).mean(0) for axis in torch.eye(len(theta)).double()]
    return torch.stack(moved) - base


def minimiser(loss: Loss, x: Tensor) -> tuple[Tensor, Tensor]:
    """The minimiser (A, b) by one Newton step, unique since the Hessian is positive definite."""
    theta = torch.linspace(-1, 1, D * D + D, dtype=torch.float64)
    hessian = curvature(loss, x, theta)
    assert float(torch.linalg.eigvalsh(hessian)[0]) > 0
    theta = theta - torch.linalg.solve(hessian, slopes(loss, x, theta).mean(0))
    return theta[: D * D].reshape(D, D), theta[D * D :]


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and inverse covariance of a sample."""
    mean = x.mean(0)
    return mean, torch.linalg.inv((x - mean).T @ (x - mean) / len(x))


def all_signs(n: int) -> Tensor:
    """Every vector of signs for each of n samples, (2^D, n, D)."""
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=D)), dtype=torch.float64)
    return signs[:, None].expand(-1, n, -1)


def test_the_exact_minimiser_is_minus_the_inverse_covariance() -> None:
    x = sample(50)
    mean, precision = moments(x)
    matrix, shift = minimiser(exact_score_matching, x)
    torch.testing.assert_close(matrix, -precision, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(shift, precision @ mean, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("sliced", [sliced_score_matching, sliced_score_matching_vr])
def test_the_mean_over_all_signs_is_the_exact_loss(sliced: Callable[..., Tensor]) -> None:
    """The mean of v v^T over all signs is I, so the losses are equal for every sample and score."""
    x = sample(20)
    weights = torch.randn(2, D, D, generator=generator(1), dtype=torch.float64)

    def score(y: Tensor) -> Tensor:
        return torch.tanh(y @ weights[0]) @ weights[1] - y**3

    v = all_signs(len(x))
    torch.testing.assert_close(sliced(score, x, v), exact_score_matching(score, x))


@pytest.mark.parametrize("draw", PROJECTIONS)
def test_the_vr_minimiser_is_known_for_any_directions(draw: Projection) -> None:
    """It is A = -V S^-1 and b = -A m, with V the mean of v v^T over the directions drawn."""
    x = sample(60)
    v = draw(x, 2, generator(1))
    mean, precision = moments(x)
    outer = torch.einsum("kbi,kbj->ij", v, v) / (2 * len(x))
    matrix, shift = minimiser(partial(with_directions, sliced_score_matching_vr, v), x)
    torch.testing.assert_close(matrix, -outer @ precision, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(shift, -matrix @ mean, rtol=1e-9, atol=1e-9)


def with_directions(
    sliced: Callable[..., Tensor], v: Tensor, score: Callable[[Tensor], Tensor], x: Tensor
) -> Tensor:
    return sliced(score, x, v)


@pytest.mark.parametrize("draw", PROJECTIONS)
@pytest.mark.parametrize("name", ["exact", "SSM", "SSM-VR"])
def test_the_minimiser_is_the_score_of_the_population(name: str, draw: Projection) -> None:
    """With 20,000 draws each number is within 6 standard errors of -C^-1 and C^-1 m.

    The standard error is from H^-1 Cov(gradient) H^-1 / n; the false-alarm rate is below 1e-7 for
    each case. It is below 10 % of C^-1, so that an error of 10 % in the trace or the square would
    be detected.
    """
    x = sample(20_000, seed=2)
    v = draw(x, 2, generator(3))
    losses: dict[str, Loss] = {
        "exact": exact_score_matching,
        "SSM": partial(with_directions, sliced_score_matching, v),
        "SSM-VR": partial(with_directions, sliced_score_matching_vr, v),
    }
    loss = losses[name]
    precision = torch.linalg.inv(ROOT @ ROOT.T)
    truth = torch.cat([-precision.flatten(), precision @ MEAN])
    inverse = torch.linalg.inv(curvature(loss, x, truth))
    spread = inverse @ torch.cov(slopes(loss, x, truth).T) @ inverse / len(x)
    error = 6 * spread.diagonal().sqrt()
    found = torch.cat([part.flatten() for part in minimiser(loss, x)])
    assert bool(((found - truth).abs() < error).all())
    assert bool((error < 0.1 * truth.abs()).any())


def test_images_are_flattened_and_no_gradient_reaches_them() -> None:
    """Data (batch, 1, 2, 2) and (batch, 4) have the same loss, also with gradients disabled."""
    x = torch.randn(5, 4, generator=generator(4), dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 4, generator=generator(5), dtype=torch.float64, requires_grad=True)
    v = rademacher(x, 3, generator(6))

    def flat(y: Tensor) -> Tensor:
        return torch.sin(y @ weight)

    def image(y: Tensor) -> Tensor:
        return flat(y.flatten(1)).reshape(y.shape)

    pictures, directions = x.reshape(5, 1, 2, 2), v.reshape(3, 5, 1, 2, 2)
    pairs = [
        (exact_score_matching(flat, x), exact_score_matching(image, pictures)),
        (sliced_score_matching(flat, x, v), sliced_score_matching(image, pictures, directions)),
        (
            sliced_score_matching_vr(flat, x, v),
            sliced_score_matching_vr(image, pictures, directions),
        ),
    ]
    with torch.no_grad():
        silent = [
            exact_score_matching(flat, x),
            sliced_score_matching(flat, x, v),
            sliced_score_matching_vr(flat, x, v),
        ]
    for off, (on, _) in zip(silent, pairs, strict=True):
        assert not off.requires_grad
        torch.testing.assert_close(off, on.detach())
    for one, other in pairs:
        torch.testing.assert_close(one, other)
        other.sum().backward()
        assert x.grad is None
        assert weight.grad is not None
        weight.grad = None


def test_a_constant_score_has_no_trace() -> None:
    x, shift = sample(4), torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64, requires_grad=True)
    loss = exact_score_matching(lambda y: shift.expand_as(y), x)
    torch.testing.assert_close(loss, torch.full((4,), 3.0, dtype=torch.float64))

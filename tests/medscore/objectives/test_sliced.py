"""Random directions, and the variance of sliced score matching."""

from collections.abc import Callable

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
from medscore.priors.analytic import GMMPrior
from medscore.sdes.linear import VP

PROJECTIONS: list[Projection] = [gaussian, rademacher, sphere]
all_projections = pytest.mark.parametrize("draw", PROJECTIONS)
SLICED = [sliced_score_matching, sliced_score_matching_vr]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


@all_projections
@pytest.mark.parametrize("shape", [(1,), (5,), (1, 2, 3)])
def test_projections_have_mean_zero_and_unit_covariance(
    draw: Projection, shape: tuple[int, ...]
) -> None:
    """Over samples and directions, within 6 standard errors."""
    n = 20_000
    v = draw(torch.zeros(n, *shape, dtype=torch.float64), 2, generator(0))
    assert v.shape == (2, n, *shape)
    assert v.dtype == torch.float64
    flat = v.flatten(2)
    d = flat.shape[2]
    for rows in (flat[0], flat[1], flat.reshape(-1, d)):
        products = torch.einsum("bi,bj->bij", rows, rows).flatten(1)
        numbers = torch.cat([rows, products - torch.eye(d).double().flatten()], 1)
        bound = 6 * numbers.std(0) / len(numbers) ** 0.5 + 1e-12
        assert bool((numbers.mean(0).abs() <= bound).all())
    across = torch.einsum("bi,bj->bij", flat[0], flat[1]).flatten(1)
    assert bool((across.mean(0).abs() <= 6 * across.std(0) / n**0.5).all())


def test_signs_are_signs_and_spheres_have_radius_root_d() -> None:
    like = torch.zeros(50, 1, 2, 3)
    assert torch.equal(rademacher(like, 2, generator(0)).abs(), torch.ones(2, 50, 1, 2, 3))
    norms = sphere(like, 2, generator(0)).flatten(2).square().sum(2)
    torch.testing.assert_close(norms, torch.full((2, 50), 6.0))


@all_projections
def test_a_seed_fixes_the_directions(draw: Projection) -> None:
    like = torch.zeros(4, 3)
    one, same, other = (draw(like, 2, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_signs_are_exact_on_a_diagonal_jacobian_and_spheres_on_a_multiple_of_one() -> None:
    x = randn(10, 4, seed=1)

    def by_itself(y: Tensor) -> Tensor:
        return torch.sin(y) - y**3

    def radial(y: Tensor) -> Tensor:
        return -0.7 * y + 0.3

    for draw, score in ((rademacher, by_itself), (sphere, radial), (rademacher, radial)):
        v = draw(x, 1, generator(2))
        found = sliced_score_matching_vr(score, x, v)
        torch.testing.assert_close(found, exact_score_matching(score, x))


# Variance over the directions, at fixed data


def of_a_form(draw: Projection, h: Tensor) -> float:
    """Var[v^T H v] for symmetric H, in closed form."""
    d, square = len(h), float(h.square().sum())
    if draw is gaussian:
        return 2 * square
    if draw is rademacher:
        return 2 * (square - float(h.diagonal().square().sum()))
    return 2 * d / (d + 2) * (square - float(h.trace()) ** 2 / d)


@all_projections
@pytest.mark.parametrize("count", [1, 3])
def test_the_variance_over_directions_is_that_of_a_quadratic_form(
    draw: Projection, count: int
) -> None:
    """H = A for SSM-VR and A + s s^T / 2 for SSM, divided by M, within 6 standard errors."""
    d, n = 4, 40_000
    matrix = randn(d, d, seed=3)
    shift, point = randn(d, seed=4), randn(d, seed=5)
    s = matrix @ point + shift
    half = (matrix + matrix.T) / 2
    x = point.expand(n, d)
    v = draw(x, count, generator(6))
    for sliced, h in zip(SLICED, (half + torch.outer(s, s) / 2, half), strict=True):
        losses = sliced(lambda y: y @ matrix.T + shift, x, v).detach()
        squares = (losses - losses.mean()).square()
        bound = 6 * float(squares.std()) / n**0.5
        assert float(squares.mean()) == pytest.approx(of_a_form(draw, h) / count, abs=bound)
        exact = float(h.trace())
        mean_bound = 6 * float(losses.std()) / n**0.5
        rest = 0.0 if sliced is sliced_score_matching else float(s @ s) / 2
        assert float(losses.mean()) == pytest.approx(exact + rest, abs=mean_bound)


@pytest.mark.parametrize("d", [2, 16])
@all_projections
def test_variance_reduction_at_the_score_of_white_data(draw: Projection, d: int) -> None:
    """The ratio of variances with M = 1 is (D + 3) / 5 for normal v, D for signs and the sphere.

    It is over data and directions and within 6 standard errors. Below D = 2 the variance of normal
    v is larger with it.
    """
    n = 400_000 if d == 2 else 100_000
    x = randn(n, d, seed=7)
    v = draw(x, 1, generator(8))
    squares = []
    for sliced in SLICED:
        losses = sliced(lambda y: -y, x, v).detach()
        squares.append((losses - losses.mean()).square())
    factor = (d + 3) / 5 if draw is gaussian else d
    gap = squares[0] - factor * squares[1]
    assert abs(float(gap.mean())) < 6 * float(gap.std()) / n**0.5
    assert 6 * float(gap.std()) / n**0.5 < 0.1 * factor * float(squares[1].mean())


# Gradients on a mixture, for a small network

HIDDEN, TIME = 4, 0.2
PARAMETERS = 2 * HIDDEN + HIDDEN + 2 * HIDDEN + 2


def network(theta: Tensor) -> Callable[[Tensor], Tensor]:
    """A network 2 -> 4 -> 2 with tanh and parameters theta (batch, 22) of each sample."""
    into, bias, out, shift = theta.split([2 * HIDDEN, HIDDEN, 2 * HIDDEN, 2], 1)

    def score(x: Tensor) -> Tensor:
        inner = torch.einsum("bhi,bi->bh", into.reshape(-1, HIDDEN, 2), x) + bias
        return torch.einsum("bih,bh->bi", out.reshape(-1, 2, HIDDEN), torch.tanh(inner)) + shift

    return score


def mixture() -> GMMPrior:
    means = torch.tensor([[-1.0, 0.5], [0.8, -0.3]], dtype=torch.float64)
    covariances = torch.tensor([[[0.2, 0.1], [0.1, 0.3]], [[0.4, 0.0], [0.0, 0.1]]])
    return GMMPrior(VP(), torch.tensor([0.4, 0.6]).double(), means, covariances.double())


def slopes(loss: Callable[[Callable[[Tensor], Tensor]], Tensor], n: int) -> Tensor:
    """Gradients of the loss of each sample by the network's parameters, (n, 22)."""
    theta = 1.5 * randn(PARAMETERS, seed=9).expand(n, -1).clone()
    theta.requires_grad_()
    loss(network(theta)).sum().backward()
    assert theta.grad is not None
    return theta.grad


@pytest.fixture(scope="module")
def x() -> Tensor:
    """Draws from p_t at one time."""
    return mixture().sample(60_000, TIME, generator(10))


@pytest.fixture(scope="module")
def exact(x: Tensor) -> Tensor:
    """The gradients of exact score matching."""
    return slopes(lambda score: exact_score_matching(score, x), len(x))


def test_the_exact_gradient_is_the_fisher_divergences(
    x: Tensor, exact: Tensor, proven: Callable[..., None]
) -> None:
    """Compared with 1/2 |s - grad log p_t|^2 at the same draws, in all 22 parameters."""
    truth = mixture().score(x, torch.full((len(x),), TIME, dtype=torch.float64))

    def fisher(score: Callable[[Tensor], Tensor]) -> Tensor:
        return 0.5 * (score(x) - truth).square().sum(1)

    proven(exact, slopes(fisher, len(x)))


@all_projections
@pytest.mark.parametrize("sliced", SLICED)
def test_the_sliced_gradient_is_unbiased(
    sliced: Callable[..., Tensor],
    draw: Projection,
    x: Tensor,
    exact: Tensor,
    proven: Callable[..., None],
) -> None:
    v = draw(x, 2, generator(11))
    proven(slopes(lambda score: sliced(score, x, v), len(x)), exact)


@all_projections
def test_variance_reduction_lowers_the_variance_of_the_gradient(
    draw: Projection, x: Tensor
) -> None:
    v = draw(x, 1, generator(12))
    spread = [
        slopes(lambda score, sliced=sliced: sliced(score, x, v), len(x)).var(0).sum()
        for sliced in SLICED
    ]
    assert float(spread[0] / spread[1]) > 1.2

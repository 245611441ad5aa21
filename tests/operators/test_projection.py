"""The projection onto images that fit the data, against dense linear algebra and its definition."""

import pytest
import torch

from medscore.operators.linalg import Solution
from medscore.operators.projection import project_onto_ball

DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])


def random(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def matrix(rows: int, columns: int, condition: float, dtype: torch.dtype) -> torch.Tensor:
    """Singular values from 1 to 1 / condition, equally spaced in their logarithm."""
    left, _, right = torch.linalg.svd(
        random(rows, columns, seed=0, dtype=dtype), full_matrices=False
    )
    s = torch.logspace(0, -1, min(rows, columns), base=condition, dtype=torch.float64)
    return (left * s) @ right


def solve(a: torch.Tensor, b: torch.Tensor, radius: torch.Tensor, max_iter: int = 100) -> Solution:
    accuracy = torch.full((len(b),), 1e-7, dtype=torch.float64)
    return project_onto_ball(
        lambda x: x @ a.T, lambda y: y @ a.conj(), b, radius=radius, accuracy=accuracy,
        max_iter=max_iter,
    )  # fmt: skip


def gaps(a: torch.Tensor, x: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    length: torch.Tensor = torch.linalg.vector_norm(b - x @ a.T, dim=1)
    return length


@DTYPES
@pytest.mark.parametrize("condition", [1.0, 1e2, 1e4, 1e8])
@pytest.mark.parametrize(("rows", "columns"), [(12, 20), (20, 12)])
def test_the_solution_satisfies_the_karush_kuhn_tucker_conditions(
    rows: int, columns: int, condition: float, dtype: torch.dtype
) -> None:
    """|b - A x| = radius and x = A^H (b - A x) / delta for one delta > 0: Karush-Kuhn-Tucker."""
    a = matrix(rows, columns, condition, dtype)
    b = random(3, columns, seed=1, dtype=dtype) @ a.T
    radius = torch.linalg.vector_norm(b, dim=1) * torch.tensor([0.5, 0.1, 0.01])
    x = solve(a, b, radius).x
    torch.testing.assert_close(gaps(a, x, b), radius, rtol=1e-6, atol=0)
    pull = (b - x @ a.T) @ a.conj()
    delta = (pull * x.conj()).sum(1).real / x.abs().square().sum(1)
    assert bool((delta > 0).all())
    torch.testing.assert_close(pull, delta[:, None] * x, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_more_iterations_than_dimensions_do_no_harm(dtype: torch.dtype) -> None:
    """The Krylov space is complete after 3 of them; an accuracy that no rounding reaches."""
    a = torch.diag(torch.tensor([1.0, 0.5, 0.01], dtype=dtype))
    b = torch.tensor([[1.0, 1.0, 1.0]], dtype=dtype)
    radius = torch.full((1,), 1e-3, dtype=dtype)
    found = project_onto_ball(
        lambda x: x @ a, lambda y: y @ a, b, radius=radius, accuracy=torch.zeros(1, dtype=dtype)
    )
    assert float(gaps(a, found.x, b)) == pytest.approx(1e-3, rel=1e-2)


@DTYPES
def test_the_projection_is_non_expansive(dtype: torch.dtype) -> None:
    """Adding the shortest x of y - A x is non-expansive, although A^+ amplifies by up to 1e8."""
    a = matrix(12, 20, 1e8, dtype)
    y = random(1, 20, seed=2, dtype=dtype) @ a.T
    start = random(1, 20, seed=3, dtype=dtype)
    radius = 1e-3 * torch.linalg.vector_norm(y, dim=1)
    for size in (1e-6, 1e-2, 1.0):
        other = start + size * random(1, 20, seed=4, dtype=dtype)
        ends = [x + solve(a, y - x @ a.T, radius).x for x in (start, other)]
        before, after = (start - other).norm(), (ends[0] - ends[1]).norm()
        assert float(after) <= float(before) * (1 + 1e-6) + 3e-7


def test_a_fitting_point_needs_no_change_and_zero_gives_zero() -> None:
    a, b = matrix(6, 9, 10.0, torch.float64), random(2, 6, seed=5)
    b[1] = 0
    found = solve(a, b, torch.linalg.vector_norm(b, dim=1) * 1.01)
    assert torch.equal(found.x, torch.zeros(2, 9, dtype=torch.float64))
    assert found.iterations == 0


def test_an_unreachable_radius_gives_the_least_residual() -> None:
    """Data outside the range of A: the solution reports the smallest possible residual."""
    a, b = matrix(9, 6, 10.0, torch.float64), random(2, 9, seed=6)
    found = solve(a, b, torch.full((2,), 1e-6, dtype=torch.float64))
    least = gaps(a, b @ torch.linalg.pinv(a).T, b)
    torch.testing.assert_close(gaps(a, found.x, b), least, rtol=1e-6, atol=0)
    length = torch.linalg.vector_norm(b, dim=1)
    torch.testing.assert_close(found.residual, least / length, rtol=1e-6, atol=0)


def test_samples_do_not_influence_each_other() -> None:
    a = matrix(12, 20, 1e4, torch.float64)
    b = random(3, 20, seed=7) @ a.T
    radius = torch.linalg.vector_norm(b, dim=1) * torch.tensor([0.5, 0.1, 1e-3])
    alone = [solve(a, b[i : i + 1], radius[i : i + 1]).x for i in range(3)]
    torch.testing.assert_close(solve(a, b, radius).x, torch.cat(alone), rtol=0, atol=1e-12)


def test_the_iteration_limit_returns_the_current_solution() -> None:
    a = matrix(40, 60, 1e3, torch.float64)
    b = random(1, 60, seed=8) @ a.T
    radius = 1e-2 * torch.linalg.vector_norm(b, dim=1)
    found = solve(a, b, radius, max_iter=8)
    assert found.iterations == 8
    assert 0 < float(gaps(a, found.x, b)) < float(b.norm())
    torch.testing.assert_close(gaps(a, found.x, b) / b.norm(), found.residual)

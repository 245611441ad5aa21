"""Conjugate gradients against dense linear algebra."""

import torch

from medscore.operators.linalg import cgls


def random(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_cgls_is_the_pseudo_inverse_wide_and_tall() -> None:
    for rows, columns in ((6, 9), (9, 6)):
        a, b = random(rows, columns, seed=0), random(4, rows, seed=1)
        found = cgls(lambda x, a=a: x @ a.T, lambda y, a=a: y @ a, b, tol=1e-12, max_iter=100)
        torch.testing.assert_close(found.x, b @ torch.linalg.pinv(a).T)


def test_a_converged_sample_stands_still_while_others_go_on() -> None:
    """One easy and one hard right-hand side: each is solved as if it were alone."""
    a = torch.diag(torch.logspace(0, -3, 8, dtype=torch.float64))
    easy, hard = torch.zeros(1, 8, dtype=torch.float64), random(1, 8, seed=2)
    easy[0, 0] = 1.0

    def solve(b: torch.Tensor) -> torch.Tensor:
        return cgls(lambda x: x @ a, lambda y: y @ a, b, tol=1e-6, max_iter=50).x

    together = solve(torch.cat([easy, hard]))
    torch.testing.assert_close(together, torch.cat([solve(easy), solve(hard)]))


def test_a_zero_right_hand_side_gives_zero() -> None:
    found = cgls(lambda x: x, lambda y: y, torch.zeros(2, 3), tol=1e-6, max_iter=5)
    assert torch.equal(found.x, torch.zeros(2, 3))
    assert found.iterations == 0


def test_the_reported_residual_is_the_true_one() -> None:
    a, b = random(9, 6, seed=3), random(2, 9, seed=4)
    found = cgls(lambda x: x @ a.T, lambda y: y @ a, b, tol=1e-12, max_iter=100)
    true = (b - found.x @ a.T).norm(dim=1) / b.norm(dim=1)
    torch.testing.assert_close(found.residual, true)

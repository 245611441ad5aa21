"""With a square, invertible T the proximal step solves Eq. 8.8 (Theorem 8.1)."""

import pytest
import torch
from hypothesis import given, strategies as st
from support import Square
from torch import Tensor

from medscore.operators.base import Operator


def problem(seed: int) -> tuple[Square, Tensor, Tensor]:
    operator = Square(seed)
    generator = torch.Generator().manual_seed(seed + 1)
    x, other = torch.randn(2, 1, 1, 3, 3, generator=generator, dtype=torch.float64)
    return operator, x, operator.forward(other)


def objective(operator: Square, z: Tensor, x: Tensor, y: Tensor, lam: float) -> Tensor:
    """Eq. 8.8 with the inner minimum over {u : A u = y} solved: only measured entries differ."""
    mask = operator.mask(z)
    to_x = operator.T(z - x).square().sum()
    to_fit = (mask * (operator.T(z) - y)).square().sum()
    return (1 - lam) * to_x + lam * to_fit


@given(st.integers(0, 1000), st.floats(0.0, 1.0))
def test_proximal_minimises_equation_8_8(seed: int, lam: float) -> None:
    """The objective is convex, so a vanishing gradient at the closed form is a minimum."""
    operator, x, y = problem(seed)
    z = operator.proximal(x, y, lam).requires_grad_()
    gradient = torch.autograd.grad(objective(operator, z, x, y, lam), z)[0]
    assert float(gradient.abs().max()) <= 1e-9


@pytest.mark.parametrize("lam", [0.3, 0.9])
def test_brute_force_finds_no_better_point(lam: float) -> None:
    operator, x, y = problem(3)
    best = operator.proximal(x, y, lam)
    z = x.clone().requires_grad_()
    search = torch.optim.LBFGS([z], max_iter=500, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        search.zero_grad()
        value = objective(operator, z, x, y, lam)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    search.step(closure)
    torch.testing.assert_close(z.detach(), best, atol=1e-4, rtol=1e-4)


@given(st.integers(0, 1000))
def test_full_strength_fits_exactly(seed: int) -> None:
    operator, x, y = problem(seed)
    assert float(operator.residual(operator.proximal(x, y, 1.0), y).max()) <= 1e-9


@pytest.mark.parametrize("mask", [torch.tensor([0.5, 1.0, 1.0]), torch.zeros(3)])
def test_a_mask_that_is_not_0_1_or_is_empty_is_refused(mask: Tensor) -> None:
    class Any(Square):
        def __init__(self) -> None:
            Operator.__init__(self, mask, image_shape=(3, 3), grid_shape=(3,))

    with pytest.raises(ValueError, match="mask"):
        Any()

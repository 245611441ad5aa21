"""What every operator must satisfy. A new operator joins by one line in OPERATORS."""

from collections.abc import Callable

import pytest
import torch
from support import Square
from torch import Tensor

from medscore.operators.base import Operator
from medscore.operators.projector import ParallelBeam
from medscore.operators.radon import Radon, sparse_view

OPERATORS: dict[str, Callable[[], tuple[Operator, int]]] = {
    "radon, 7 views": lambda: (sparse_view(32, 2.5, 7), 32),
    "radon, 10 views, odd size": lambda: (sparse_view(31, 0.7, 10), 31),
    "radon, full": lambda: (Radon(ParallelBeam(24, 1.0, 64), torch.ones(64).bool()), 24),
    "square T": lambda: (Square(), 3),
    "radon, limited angle": lambda: (Radon(ParallelBeam(24, 1.0, 64), torch.arange(64) < 40), 24),
}
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}

MAPS = ["T", "T_adjoint", "T_inv", "forward", "adjoint"]

operators = pytest.mark.parametrize("name", OPERATORS)
dtypes = pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])


def image(n: int, dtype: torch.dtype, batch: int = 2, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 1, n, n, generator=generator, dtype=torch.float64).to(dtype)


def smooth(n: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Noise blurred to about the sharpness of a medical image: what conjugate gradients can fit
    to 1e-5. White noise has parts that a few views see too faintly for that.
    """
    x = image(n, torch.float64, seed=seed)
    for _ in range(3):
        x = torch.nn.functional.avg_pool2d(x, 3, stride=1, padding=1)
    return x.to(dtype)


def measurement(operator: Operator, like: Tensor, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    z = operator.T(like)
    return torch.randn(z.shape, generator=generator, dtype=torch.float64).to(z.dtype)


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


@operators
@dtypes
def test_adjoint_passes_the_dot_test_and_returns_the_images_shape(
    name: str, dtype: torch.dtype
) -> None:
    operator, n = OPERATORS[name]()
    x = image(n, dtype)
    y = measurement(operator, x)
    assert operator.adjoint(y).shape == x.shape
    left, right = (operator.forward(x) * y).sum(), (x * operator.adjoint(y)).sum()
    scale = operator.forward(x).norm() * y.norm()
    assert float((left - right).abs() / scale) <= TOLERANCE[dtype]


@operators
@dtypes
def test_t_and_its_adjoint_pass_the_dot_test(name: str, dtype: torch.dtype) -> None:
    operator, n = OPERATORS[name]()
    x = image(n, dtype)
    z = measurement(operator, x)
    left, right = (operator.T(x) * z).sum(), (x * operator.T_adjoint(z)).sum()
    assert float((left - right).abs() / (operator.T(x).norm() * z.norm())) <= TOLERANCE[dtype]


@operators
def test_forward_is_the_mask_times_t(name: str) -> None:
    operator, n = OPERATORS[name]()
    x = image(n, torch.float64)
    z = operator.T(x)
    y = operator.forward(x)
    torch.testing.assert_close(y, operator.mask(z) * z)
    assert torch.equal(y, operator.mask(y) * y)


@operators
@pytest.mark.parametrize("method", ["T", "T_adjoint", "T_inv", "forward", "adjoint", "zero_filled"])
def test_every_map_is_linear(name: str, method: str) -> None:
    operator, n = OPERATORS[name]()
    f = getattr(operator, method)
    a, b = image(n, torch.float64, seed=2), image(n, torch.float64, seed=3)
    if method in ("T_adjoint", "T_inv", "adjoint", "zero_filled"):
        a, b = measurement(operator, a, 4), measurement(operator, b, 5)
    torch.testing.assert_close(f(2 * a - 3 * b), 2 * f(a) - 3 * f(b))


@operators
@pytest.mark.parametrize("method", MAPS)
def test_no_sample_sees_its_neighbours(name: str, method: str) -> None:
    operator, n = OPERATORS[name]()
    f = getattr(operator, method)
    a = image(n, torch.float32, batch=8)
    a = a if method in ("T", "forward") else measurement(operator, a)
    together, alone = f(a), torch.cat([f(a[i : i + 1]) for i in range(8)])
    assert relative(together, alone) <= 1e-6


@operators
@pytest.mark.parametrize("method", MAPS)
def test_gradients_are_those_of_the_map(name: str, method: str) -> None:
    """For a linear map the gradient along a direction is the map of the direction."""
    operator, n = OPERATORS[name]()
    f = getattr(operator, method)
    a = image(n, torch.float64)
    a = a if method in ("T", "forward") else measurement(operator, a)
    a.requires_grad_()
    out = f(a)
    cotangent = torch.randn(
        out.shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64
    )
    gradient = torch.autograd.grad(out, a, cotangent)[0]
    direction = torch.randn(
        a.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64
    )
    torch.testing.assert_close((gradient * direction).sum(), (cotangent * f(direction)).sum())


@operators
@dtypes
def test_dtype_is_preserved(name: str, dtype: torch.dtype) -> None:
    operator, n = OPERATORS[name]()
    x = image(n, dtype)
    y = operator.forward(x)
    assert {y.dtype, operator.adjoint(y).dtype, operator.zero_filled(y).dtype} == {dtype}


@operators
def test_pinv_is_a_generalised_inverse(name: str) -> None:
    """A A+ A = A, to the tolerance of the conjugate gradients."""
    operator, n = OPERATORS[name]()
    y = operator.forward(smooth(n, torch.float64))
    assert relative(operator.forward(operator.pinv(y).x), y) <= 1e-5


@operators
def test_pinv_has_least_norm(name: str) -> None:
    """Any other image with the same measurements is longer."""
    operator, n = OPERATORS[name]()
    x = image(n, torch.float64)
    short = operator.pinv(operator.forward(x), tol=1e-4).x
    assert bool((short.flatten(1).norm(dim=1) <= x.flatten(1).norm(dim=1)).all())


@operators
@dtypes
def test_exact_step_fits_the_measurements(name: str, dtype: torch.dtype) -> None:
    operator, n = OPERATORS[name]()
    y = operator.forward(smooth(n, dtype))
    start = smooth(n, dtype, seed=7)
    solution = operator.exact_step(start, y)
    assert float(operator.residual(solution.x, y).max()) <= 1e-5
    torch.testing.assert_close(solution.residual, operator.residual(solution.x, y))


@operators
def test_exact_step_leaves_a_fitting_image_alone(name: str) -> None:
    operator, n = OPERATORS[name]()
    x = smooth(n, torch.float64)
    assert relative(operator.exact_step(x, operator.forward(x)).x, x) <= 1e-9


@operators
def test_proximal_is_equation_8_9_up_to_the_loss_of_t_inv(name: str) -> None:
    """T_inv[lam mask y + (1 - lam) mask T x + (1 - mask) T x] + (x - T_inv T x)."""
    operator, n = OPERATORS[name]()
    x = image(n, torch.float64)
    y, lam = operator.forward(image(n, torch.float64, seed=8)), 0.7
    z = operator.T(x)
    mask = operator.mask(z)
    blended = lam * mask * y + (1 - lam) * mask * z + (1 - mask) * z
    loss = x - operator.T_inv(z)
    torch.testing.assert_close(operator.proximal(x, y, lam), operator.T_inv(blended) + loss)


@operators
def test_proximal_with_lam_zero_changes_nothing(name: str) -> None:
    operator, n = OPERATORS[name]()
    x = image(n, torch.float64)
    assert torch.equal(operator.proximal(x, measurement(operator, x), 0.0), x)


@pytest.mark.parametrize("name", [name for name in OPERATORS if name != "square T"])
def test_data_consistency_keeps_the_noise_of_a_noisy_state(name: str) -> None:
    """Where T is not onto: at full strength white noise in x is replaced by that of a measurement
    of fresh noise, again and again; x' = (I - P) x + P fresh keeps its variance if P is an
    orthogonal projection.

    2 x n^2 >= 1,152 numbers: the standard error of their variance is at most 4.2 %, the bound 6 of
    them (false-alarm rate below 1e-8).
    """
    operator, n = OPERATORS[name]()
    x = image(n, torch.float64)
    for seed in range(1, 6):
        y = operator.forward(image(n, torch.float64, seed=seed))
        x = operator.consistent(x, y, 1.0)
    assert float(x.square().mean()) == pytest.approx(1.0, abs=6 * (2 / x.numel()) ** 0.5)


@operators
def test_data_consistency_moves_by_its_strength(name: str) -> None:
    operator, n = OPERATORS[name]()
    x = smooth(n, torch.float64)
    y = operator.forward(smooth(n, torch.float64, seed=7))
    full, half = operator.consistent(x, y, 1.0), operator.consistent(x, y, 0.5)
    torch.testing.assert_close(half, (x + full) / 2)
    assert torch.equal(operator.consistent(x, y, 0.0), x)
    assert float((operator.residual(full, y) / operator.residual(x, y)).max()) <= 0.1


@operators
def test_t_is_onto_where_it_says_so(name: str) -> None:
    """T T_inv z = z for every z of the full grid if T is onto, and for few z if it is not."""
    operator, n = OPERATORS[name]()
    z = measurement(operator, image(n, torch.float64), 9)
    loss = relative(operator.T(operator.T_inv(z)), z)
    assert loss <= 1e-6 if operator.T_is_onto else loss >= 0.05


@operators
def test_t_loses_nothing_that_an_image_has(name: str) -> None:
    """T_inv T x is x up to the stated loss of T_inv."""
    operator, n = OPERATORS[name]()
    x = smooth(n, torch.float64)
    assert relative(operator.T_inv(operator.T(x)), x) <= (1e-9 if operator.T_is_onto else 0.05)


@operators
def test_an_empty_slice_does_not_hold_up_its_neighbours(name: str) -> None:
    """y = 0 in one row of the batch: few iterations, a finite residual, the other row as alone."""
    operator, n = OPERATORS[name]()
    start = smooth(n, torch.float32, seed=7)
    y = operator.forward(smooth(n, torch.float32))
    y[1] = 0
    both = operator.exact_step(start, y, tol=1e-2)
    alone = operator.exact_step(start[:1], y[:1], tol=1e-2)
    assert both.iterations <= 3 * alone.iterations
    assert float(both.residual[1]) <= 1e-2 * float(operator.forward(start[1:]).norm())
    assert relative(both.x[:1], alone.x) <= 1e-4

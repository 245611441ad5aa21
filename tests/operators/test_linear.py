"""An operator from two functions: methods that need no inverse, and invalid functions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from medscore.conditioners.binding import bind
from medscore.engine.job import Batch, Job
from medscore.engine.loop import run
from medscore.errors import MedscoreError
from medscore.operators import store
from medscore.operators.base import Operator
from medscore.operators.ct.radon import Radon
from medscore.operators.ct.scans import sparse_view
from medscore.operators.linear import LinearOperator
from medscore.operators.mri.fourier import fft2c, ifft2c
from medscore.operators.mri.real_images import TwoChannels
from medscore.operators.noise import GaussianNoise, NoiseModel
from medscore.operators.wrappers.restricted import Restricted
from medscore.operators.wrappers.whitened import Whitened
from medscore.priors.analytic import GaussianPrior
from medscore.registry.methods import CONDITIONERS
from medscore.samplers.ddim import DDIM
from medscore.samplers.grids import log_snr
from medscore.sdes.linear import VP

SIZE = 6


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


MATRIX = draw(20, SIZE * SIZE, seed=1) / SIZE


def multiply(x: Tensor) -> Tensor:
    return x.flatten(1) @ MATRIX.to(x).T


def multiply_back(y: Tensor) -> Tensor:
    return (y @ MATRIX.to(y)).unflatten(1, (1, SIZE, SIZE))


def operator(mask: Tensor | None = None, noise: NoiseModel | None = None) -> LinearOperator:
    return LinearOperator(multiply, multiply_back, (1, SIZE, SIZE), mask=mask, noise=noise)


def test_two_functions_and_a_shape_are_enough() -> None:
    """The measurement shape is inferred; an image shape of two axes gets a channel axis."""
    a = operator()
    assert a.image_shape == (1, SIZE, SIZE)
    assert a.grid_shape == (20,)
    x = draw(3, 1, SIZE, SIZE)
    assert torch.equal(a(x), multiply(x))
    assert torch.equal(a.adjoint(a(x)), multiply_back(multiply(x)))
    without_channel = LinearOperator(multiply, multiply_back, (SIZE, SIZE))
    assert without_channel.image_shape == (SIZE, SIZE)
    assert torch.equal(without_channel(x), multiply(x))


def test_the_functions_are_not_called_before_they_are_needed() -> None:
    def fail(x: Tensor) -> Tensor:
        raise AssertionError

    a = LinearOperator(fail, fail, (SIZE, SIZE), (20,), check=False)
    assert a.grid_shape == (20,)


def test_all_solves_are_those_of_dense_linear_algebra() -> None:
    a, y, x = operator(), draw(2, 20, seed=3), draw(2, 1, SIZE, SIZE, seed=4)
    flat = x.flatten(1)
    pinv = torch.linalg.pinv(MATRIX)
    torch.testing.assert_close(a.pinv(y, tol=1e-12).x.flatten(1), y @ pinv.T)
    fitted = flat + (y - flat @ MATRIX.T) @ pinv.T
    torch.testing.assert_close(a.project_exact(x, y, tol=1e-12).x.flatten(1), fitted)
    full = a.data_consistency(x, y, 1.0, iterations=200).flatten(1)
    torch.testing.assert_close(full, fitted, atol=1e-2, rtol=1e-2)
    damping = torch.tensor([0.5, 2.0], dtype=torch.float64)
    for i, delta in enumerate(damping):
        normal = MATRIX.T @ MATRIX + delta * torch.eye(SIZE * SIZE)
        expected = torch.linalg.solve(normal, MATRIX.T @ y[i] + delta * flat[i])
        found = a.tikhonov(x, y, damping, iterations=100)[i].flatten()
        torch.testing.assert_close(found, expected)
    norm = torch.linalg.matrix_norm(MATRIX, 2) ** 2
    torch.testing.assert_close(a.norm_squared(y, steps=2000), norm.expand(2))
    ball = a.project_ball(x, y, tol=0.1)
    assert float(a.residual(ball.x, y).max()) <= 0.1 * (1 + 1e-6)


def test_a_mask_and_noise_are_as_in_other_operators() -> None:
    taken = torch.arange(20) % 3 == 0
    a = operator(mask=taken, noise=GaussianNoise(0.1))
    x = draw(2, 1, SIZE, SIZE)
    torch.testing.assert_close(a.forward(x), multiply(x) * taken)
    y = a.measure(x, torch.Generator().manual_seed(0))
    assert torch.equal(y, y * taken)
    a.check(y)
    with pytest.raises(ValueError, match=r"expected \(batch, ..., 20\)"):
        a.check(y[:, :-1])
    half = Restricted(a, torch.arange(20) < 10)
    torch.testing.assert_close(half.forward(x), multiply(x) * taken * (torch.arange(20) < 10))
    white = Whitened(a, torch.full((20,), 2.0, dtype=torch.float64))
    torch.testing.assert_close(white.forward(x), a.forward(x) / 2)


@pytest.mark.parametrize("call", ["T_inv", "zero_filled"])
def test_without_an_inverse_the_error_says_what_to_do(call: str) -> None:
    with pytest.raises(ValueError, match=r"give `inverse`, or use .* diffpir, dds or dps"):
        getattr(operator(), call)(draw(1, 20))
    with pytest.raises(ValueError, match="T_inv is not known"):
        operator().proximal(draw(1, 1, SIZE, SIZE), draw(1, 20), 1.0)


def test_an_inverse_is_used_where_it_is_given() -> None:
    scale = LinearOperator(lambda x: 4 * x, lambda y: 4 * y, (SIZE, SIZE), inverse=lambda z: z / 4)
    x = draw(2, 1, SIZE, SIZE)
    torch.testing.assert_close(scale.T_inv(scale.T(x)), x)
    torch.testing.assert_close(scale.zero_filled(scale(x)), x)
    y = draw(2, 1, SIZE, SIZE, seed=5)
    torch.testing.assert_close(scale.proximal(x, y, 1.0), y / 4)


def test_no_file_stores_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be stored in a file, because it is made of fun"):
        operator().settings()
    with pytest.raises(ValueError, match="cannot be stored in a file"):
        store.save(tmp_path / "operator.h5", Restricted(operator(), torch.ones(20)))


WRONG: dict[str, tuple[Callable[[Tensor], object], str]] = {
    "of another length": (lambda y: 1.001 * multiply_back(y), r"differ by 0\.001 of"),
    "of the opposite sign": (lambda y: -multiply_back(y), "differ by 2 of"),
    "mirrored": (lambda y: multiply_back(y).flip(-1), "is not the adjoint"),
    "with samples exchanged": (lambda y: multiply_back(y.flip(0)), "is not the adjoint"),
    "affine": (lambda y: multiply_back(y) + 1, "is not the adjoint"),
    "not a number": (lambda y: multiply_back(y) * float("nan"), "differ by nan"),
    "of another shape": (lambda y: multiply_back(y)[..., :-1], r"expected \(2, 1, 6, 6\)"),
    "not a tensor": (lambda y: multiply_back(y).tolist(), "returns a list, expected a tensor"),
    "in double precision": (lambda y: multiply_back(y).double(), "returns torch.float64 for"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_adjoint_is_refused_with_the_mismatch(name: str) -> None:
    adjoint, message = WRONG[name]
    with pytest.raises(ValueError, match=message) as refused:
        LinearOperator(multiply, adjoint, (SIZE, SIZE))  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)
    LinearOperator(multiply, adjoint, (SIZE, SIZE), check=False)  # type: ignore[arg-type]


def test_an_adjoint_that_is_wrong_only_outside_of_the_range_of_a_is_refused() -> None:
    tall = torch.cat([torch.eye(SIZE * SIZE), torch.zeros(1, SIZE * SIZE)])

    def adjoint(y: Tensor) -> Tensor:
        return (y @ tall + y[:, -1:]).unflatten(1, (1, SIZE, SIZE))

    with pytest.raises(ValueError, match="is not the adjoint"):
        LinearOperator(lambda x: x.flatten(1) @ tall.T, adjoint, (SIZE, SIZE))


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda x: multiply(x)[0], r"`forward` returns the shape \(20,\) for a batch of 1"),
        (lambda x: [multiply(x)], "`forward` returns a list, expected a tensor"),
        (lambda x: 0 * multiply(x), "measures nothing"),
    ],
)
def test_an_invalid_forward_function_is_refused(
    forward: Callable[[Tensor], Tensor], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        LinearOperator(forward, multiply_back, (SIZE, SIZE))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"image_shape": 32}, "`image_shape` is 32, expected positive integers - use"),
        ({"image_shape": (1, 6.0, 6)}, r"`image_shape` is \(1, 6.0, 6\), expected positive"),
        ({"image_shape": (1, -3, 3)}, r"`image_shape` is \(1, -3, 3\), expected positive"),
        ({"image_shape": (6,)}, r"`image_shape` is \(6,\), expected positive"),
        ({"image_shape": None}, "`image_shape` is None"),
        ({"image_shape": (1, 5, 6)}, "`forward` raises RuntimeError for the shape"),
        ({"measurement_shape": 20}, "`measurement_shape` is 20, expected positive integers"),
        ({"measurement_shape": (21,)}, r"expected \(2, 21\) - correct `measurement_shape`"),
        ({"forward": 3}, "`forward` is 3, expected a function"),
        ({"adjoint": None}, "`adjoint` is None, expected a function"),
        ({"inverse": 3}, "`inverse` is 3, expected a function"),
        ({"adjoint": lambda y: y[99]}, "`adjoint` raises IndexError"),
        ({"mask": [1] * 20}, "`mask` is a list, expected a tensor - use torch.as_tensor"),
        ({"mask": torch.ones(20).numpy()}, "`mask` is a ndarray"),
        ({"mask": torch.ones(19)}, "`mask`"),
        ({"mask": torch.zeros(20)}, "the mask has no 1"),
        ({"adjoint": lambda y: 2 * multiply_back(y)}, "is not the adjoint of .* - correct"),
    ],
)
def test_invalid_arguments_are_refused_in_one_line(
    unchecked: None, given: dict[str, Any], message: str
) -> None:
    valid = {"forward": multiply, "adjoint": multiply_back, "image_shape": (1, SIZE, SIZE)}
    with pytest.raises(MedscoreError, match=message) as refused:
        LinearOperator(**(valid | given))
    assert "\n" not in str(refused.value)
    assert refused.value.hint


def test_complex_images_are_found_from_the_adjoint() -> None:
    a = LinearOperator(fft2c, ifft2c, (1, 8, 6), dtype=torch.complex64)
    plain = LinearOperator(
        lambda x: torch.fft.fft2(x), lambda y: torch.fft.ifft2(y, norm="forward"), (8, 6)
    )
    x = torch.complex(draw(2, 1, 8, 6), draw(2, 1, 8, 6, seed=1))
    for each in (a, plain):
        y = each(x)
        assert y.is_complex()
        torch.testing.assert_close(each.pinv(y, tol=1e-12).x, x)
    with pytest.raises(ValueError, match="is not the adjoint"):
        LinearOperator(fft2c, lambda y: ifft2c(y.conj()), (8, 6), dtype=torch.complex64)
    channels = TwoChannels(LinearOperator(fft2c, ifft2c, (8, 6), dtype=torch.complex64))
    assert channels.image_shape == (2, 8, 6)
    real = torch.cat([x.real, x.imag], 1)
    torch.testing.assert_close(channels.adjoint(channels.forward(real)), real)


def test_real_images_may_have_complex_measurements() -> None:
    def forward(x: Tensor) -> Tensor:
        return torch.fft.fft2(x.to(x.dtype.to_complex()), norm="ortho")

    def adjoint(y: Tensor) -> Tensor:
        return torch.fft.ifft2(y, norm="ortho").real

    a, x = LinearOperator(forward, adjoint, (8, 6)), draw(2, 1, 8, 6)
    torch.testing.assert_close(a.pinv(a(x), tol=1e-12).x, x)
    with pytest.raises(ValueError, match="is not the adjoint"):
        LinearOperator(forward, lambda y: torch.fft.ifft2(y, norm="ortho").imag, (8, 6))


SCAN = sparse_view(8, 1.0, 5)
NEED_AN_INVERSE = {"replacement": "needs an invertible T", "ddrm": "needs an orthogonal T"}
"""Conditioners that require T_inv, and their error messages without it."""


def sample(name: str, a: Operator, y: Tensor) -> Tensor:
    """Two samples by a conditioner under a Gaussian prior, in 8 steps."""
    sde = VP()
    root = 0.1 * draw(64, 64, seed=3)
    prior = GaussianPrior(sde, draw(64, seed=4), root @ root.T + 0.01 * torch.eye(64))
    conditioner = bind(CONDITIONERS[name])(a, y, 0.05)
    job = Job(
        seeds=[1, 2],
        shape=(1, 8, 8),
        times=log_snr(sde, 8),
        batches=lambda items: Batch(prior, DDIM(0.5), conditioner),
    )
    return run(job).x


@pytest.mark.parametrize("name", sorted(set(CONDITIONERS) - set(NEED_AN_INVERSE)))
def test_conditioners_need_only_the_two_functions(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The samples equal those with the operator that the functions are taken from, if it is solved
    without its approximation of A A^T, which two functions do not tell."""
    monkeypatch.setattr(Radon, "gram", lambda self, y: None)
    y = SCAN.forward(draw(2, 1, 8, 8, seed=5, dtype=torch.float32))
    a = LinearOperator(SCAN.T, SCAN.T_adjoint, (1, 8, 8), mask=SCAN.diagonal)
    found, expected = sample(name, a, y), sample(name, SCAN, y)
    assert bool(torch.isfinite(found).all())
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", NEED_AN_INVERSE)
def test_conditioners_that_need_an_inverse_say_so(name: str) -> None:
    y = SCAN.forward(draw(2, 1, 8, 8, seed=5, dtype=torch.float32))
    a = LinearOperator(SCAN.T, SCAN.T_adjoint, (1, 8, 8), mask=SCAN.diagonal)
    with pytest.raises(ValueError, match=NEED_AN_INVERSE[name]) as refused:
        bind(CONDITIONERS[name])(a, y, 0.05)
    assert "\n" not in str(refused.value)

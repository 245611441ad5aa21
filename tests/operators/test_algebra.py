"""Sums, products, multiples and adjoints of operators against those of dense matrices."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.operators import store
from medscore.operators.base import Adjoint, Operator, Scaled
from medscore.operators.ct.scans import sparse_view
from medscore.operators.images.colorization import Colorization
from medscore.operators.images.inpainting import Inpainting
from medscore.operators.linear import LinearOperator
from medscore.operators.mri.fourier import Fourier
from medscore.operators.mri.hartley import Hartley
from medscore.operators.mri.multicoil import MulticoilFourier
from medscore.operators.mri.sensitivity import birdcage
from medscore.operators.noise import GaussianNoise

SHAPE = (6, 6)


def bits(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.6


def draw(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


RADON = sparse_view(6, 1.0, 5)
PIXELS = Inpainting(bits(*SHAPE))
COILS = MulticoilFourier(birdcage(3, *SHAPE), bits(*SHAPE, seed=1))
KSPACE = Fourier(bits(*SHAPE, seed=2), None)

Dense = Callable[[], Tensor]
REAL: dict[str, tuple[Operator, Dense]] = {
    "composition": (RADON @ PIXELS, lambda: dense(RADON) @ dense(PIXELS)),
    "adjoint": (RADON.H, lambda: dense(RADON).T),
    "normal": (RADON.H @ RADON, lambda: dense(RADON).T @ dense(RADON)),
    "sum": (PIXELS + Hartley(torch.ones(SHAPE)), lambda: dense(PIXELS) + hartley()),
    "difference": (PIXELS - Hartley(torch.ones(SHAPE)), lambda: dense(PIXELS) - hartley()),
    "multiple": (2.0 * RADON, lambda: 2.0 * dense(RADON)),
    "multiple from the right": (RADON * 3, lambda: 3.0 * dense(RADON)),
    "negative": (-RADON, lambda: -dense(RADON)),
    "polynomial": (
        RADON.H @ RADON - 0.1 * (PIXELS @ PIXELS.H) + 2 * Inpainting(torch.ones(SHAPE)),
        lambda: gram() - 0.1 * dense(PIXELS) @ dense(PIXELS).T + 2 * torch.eye(36),
    ),
    "adjoint of a composition": ((RADON @ PIXELS).H, lambda: (dense(RADON) @ dense(PIXELS)).T),
    "adjoint of a multiple": ((-2.0 * RADON).H, lambda: -2.0 * dense(RADON).T),
}
COMPLEX: dict[str, tuple[Operator, Dense]] = {
    "complex composition": (COILS @ PIXELS, lambda: dense(COILS) @ dense(PIXELS, True)),
    "complex adjoint": (COILS.H, lambda: dense(COILS).mH),
    "complex normal": (COILS.H @ COILS, lambda: dense(COILS).mH @ dense(COILS)),
    "complex sum": (KSPACE + 2 * PIXELS, lambda: dense(KSPACE) + 2 * dense(PIXELS, True)),
    "complex composition of adjoints": (
        KSPACE.H @ PIXELS @ KSPACE,
        lambda: dense(KSPACE).mH @ dense(PIXELS, True) @ dense(KSPACE),
    ),
}
ALL = REAL | COMPLEX


def hartley() -> Tensor:
    return dense(Hartley(torch.ones(SHAPE)))


def gram() -> Tensor:
    return dense(RADON).T @ dense(RADON)


def is_complex(operator: Operator) -> bool:
    return "Fourier" in repr(operator)


def identity(shape: tuple[int, ...], is_complex: bool) -> Tensor:
    """All images with a single pixel of 1."""
    numbers = int(np.prod(shape))
    lead = () if len(shape) > 2 else (1,)
    unit = torch.eye(numbers, dtype=torch.complex128 if is_complex else torch.float64)
    return unit.reshape(numbers, *lead, *shape)


def dense(operator: Operator, complex_images: bool | None = None) -> Tensor:
    """The matrix of an operator, (measurements, pixels)."""
    kind = is_complex(operator) if complex_images is None else complex_images
    return operator.forward(identity(operator.image_shape, kind)).flatten(1).T


@pytest.mark.parametrize("name", ALL)
def test_the_result_is_that_of_the_matrices(name: str) -> None:
    operator, matrix = ALL[name]
    torch.testing.assert_close(dense(operator), matrix())


@pytest.mark.parametrize("name", ALL)
def test_the_adjoint_is_the_conjugate_transpose(name: str) -> None:
    operator, matrix = ALL[name]
    y = identity(operator.grid_shape, name in COMPLEX)
    torch.testing.assert_close(operator.adjoint(y).flatten(1).T, matrix().mH)
    torch.testing.assert_close(operator.H(y), operator.adjoint(y))


@pytest.mark.parametrize("name", ALL)
def test_calling_an_operator_applies_it_and_twice_the_adjoint_is_itself(name: str) -> None:
    operator, _ = ALL[name]
    x = identity(operator.image_shape, name in COMPLEX)
    assert torch.equal(operator(x), operator.forward(x))
    assert torch.equal(operator.H.H(x), operator(x))
    assert RADON.H.H is RADON


@pytest.mark.parametrize("name", ALL)
def test_solves_work_on_the_result(name: str) -> None:
    operator, matrix = ALL[name]
    x = identity(operator.image_shape, name in COMPLEX)[:3] + 0.1
    y = operator.forward(x)
    found = operator.pinv(y, tol=1e-12).x.flatten(1)
    torch.testing.assert_close(
        found, y.flatten(1) @ torch.linalg.pinv(matrix()).T, atol=1e-6, rtol=0
    )
    damping = torch.ones(3, dtype=torch.float64)
    ridge = torch.linalg.solve(
        matrix().mH @ matrix() + torch.eye(matrix().shape[1]), matrix().mH @ y.flatten(1).T
    )
    found = operator.tikhonov(torch.zeros_like(x), y, damping, iterations=60).flatten(1)
    torch.testing.assert_close(found, ridge.T)
    size = torch.linalg.matrix_norm(matrix(), 2) ** 2
    torch.testing.assert_close(
        operator.norm_squared(y, steps=500), size.expand(3), rtol=1e-3, atol=0
    )


def test_a_known_inverse_is_carried_over() -> None:
    x, square = draw(2, 1, *SHAPE), Hartley(torch.ones(SHAPE))
    for operator in (-2.5 * square, square @ square, PIXELS @ square, 0.5 * (PIXELS @ square)):
        assert operator.surjective
        torch.testing.assert_close(operator.T_inv(operator.T(x)), x)
        y = operator.forward(draw(2, 1, *SHAPE, seed=1))
        assert float(operator.residual(operator.proximal(x, y, 1.0), y).max()) < 1e-12
    assert not (square @ PIXELS).surjective
    for operator in (square @ PIXELS, square + square, square.H):
        with pytest.raises(ValueError, match=r"T_inv is not known for .*: use a method that needs"):
            operator.T_inv(x)


def test_a_sum_is_measured_where_either_is() -> None:
    left, right = bits(*SHAPE, seed=3), bits(*SHAPE, seed=4)
    both = Inpainting(left) + Inpainting(right)
    assert torch.equal(both.diagonal, left | right)
    both.check(both.forward(draw(1, 1, *SHAPE)))
    views = torch.arange(RADON.geometry.views)[:, None] < 3
    other = type(RADON)(RADON.geometry, views)
    assert torch.equal((RADON + other).diagonal, RADON.diagonal | views)


def test_masks_per_sample_stay_with_their_samples() -> None:
    each = Inpainting(bits(3, 1, *SHAPE))
    x, order = draw(3, 1, *SHAPE), [2, 0]
    made: list[Operator] = [
        each @ Hartley(torch.ones(SHAPE)), Hartley(torch.ones(SHAPE)) @ each, each + PIXELS,
        PIXELS - each, 2 * each, each.H, each.H @ each,
    ]  # fmt: skip
    for operator in made:
        chosen = operator.select(order)
        torch.testing.assert_close(chosen.forward(x[order]), operator.forward(x)[order])
        torch.testing.assert_close(chosen.adjoint(x[order]), operator.adjoint(x)[order])


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"cannot be composed: the left one takes images of shape"):
        RADON @ RADON
    with pytest.raises(ValueError, match=r"cannot be added: one maps \(6, 6\) to"):
        RADON + PIXELS
    with pytest.raises(ValueError, match="cannot be added"):
        Inpainting(torch.ones(6, 7)) - PIXELS


@pytest.mark.parametrize("factor", [0, 0.0, float("nan"), float("inf")])
def test_a_factor_that_makes_no_operator_is_refused(factor: float) -> None:
    with pytest.raises(ValueError, match="expected a finite number other than 0"):
        factor * RADON


def test_only_operators_and_real_numbers_take_part(unchecked: None) -> None:
    for make in (
        lambda: RADON @ torch.ones(6, 6), lambda: RADON + 1, lambda: RADON * RADON,
        lambda: RADON * "2", lambda: RADON * torch.ones(2),
        lambda: RADON - torch.ones(1),
    ):  # fmt: skip
        with pytest.raises(TypeError):
            make()


@pytest.mark.parametrize("factor", [2, 2.0, np.float32(2), np.float64(2), torch.tensor(2.0)])
def test_numbers_of_every_library_are_factors(factor: float) -> None:
    for product in (factor * RADON, RADON * factor):
        assert isinstance(product, Scaled)
        assert product.factor == 2.0


@pytest.mark.parametrize(
    "factor", [1j, 2 + 0j, np.complex64(1j), np.complex128(1 + 2j), np.array(1j), torch.tensor(1j)]
)
@pytest.mark.parametrize("operator", [RADON, COILS], ids=["real", "complex"])
def test_a_complex_factor_is_refused(unchecked: None, factor: Any, operator: Operator) -> None:
    for make in (lambda: factor * operator, lambda: operator * factor):
        with pytest.raises(MedscoreError, match=r"`factor` is .*, expected a real number - "):
            make()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda x: x[..., :-1], r"`x` has shape .* - use \(batch, ..., "),
        (lambda x: x[..., :1], "`x` has shape"),
        (lambda x: x.real.int(), "`x` is of type torch.int32 - use x.float"),
        (lambda x: x.numpy(), "`x` is a ndarray - give a torch.Tensor"),
        (lambda x: None, "`x` is a NoneType"),
    ],
)
def test_an_image_that_does_not_fit_is_refused(
    unchecked: None, name: str, change: Callable[[Tensor], Any], why: str
) -> None:
    operator, _ = ALL[name]
    x = identity(operator.image_shape, name in COMPLEX)
    with pytest.raises(MedscoreError, match=why):
        operator(change(x))


@pytest.mark.parametrize("operator", [PIXELS, RADON, KSPACE], ids=repr)
def test_the_check_of_images_works_under_vmap(operator: Operator) -> None:
    x = draw(2, 3, 1, *SHAPE)
    x = x.to(torch.complex128) if is_complex(operator) else x
    found = torch.func.vmap(operator)(x)
    torch.testing.assert_close(found, torch.stack([operator(each) for each in x]))


def test_images_with_and_without_a_channel_axis_fit_each_other() -> None:
    plain = LinearOperator(lambda x: 2 * x, lambda y: 2 * y, (1, *SHAPE))
    x = draw(2, 1, *SHAPE)
    assert (plain @ PIXELS).image_shape == (1, *SHAPE)
    torch.testing.assert_close((plain @ PIXELS)(x), 2 * PIXELS(x))
    torch.testing.assert_close((PIXELS + plain)(x), PIXELS(x) + 2 * x)
    coils = Fourier(torch.ones(SHAPE)).H @ COILS
    assert (coils.image_shape, coils.grid_shape) == (SHAPE, (3, *SHAPE))
    colours = Colorization(*SHAPE) @ PIXELS
    assert colours.image_shape == (3, *SHAPE)
    assert colours(draw(2, 3, *SHAPE)).shape == (2, 3, *SHAPE)


def test_a_composition_has_the_noise_of_the_outer_operator() -> None:
    noisy = Inpainting(bits(*SHAPE), GaussianNoise(0.1))
    assert (noisy @ PIXELS).noise_model == GaussianNoise(0.1)
    assert (PIXELS @ noisy).noise_model == PIXELS.noise_model


def test_files_keep_them_unless_they_contain_functions(tmp_path: Path) -> None:
    made = -2 * (RADON @ PIXELS).H @ (RADON + RADON)
    store.save(tmp_path / "operator.h5", made)
    again = store.load(tmp_path / "operator.h5")
    x = draw(2, 1, *SHAPE)
    assert torch.equal(again(x), made(x))
    plain = LinearOperator(lambda x: x, lambda y: y, SHAPE)
    with pytest.raises(ValueError, match="cannot be stored in a file"):
        store.save(tmp_path / "other.h5", PIXELS @ plain)


def test_calls_are_counted_once_for_the_whole() -> None:
    operator = Adjoint(RADON) @ RADON
    operator(draw(1, 1, *SHAPE))
    assert operator.calls == 1

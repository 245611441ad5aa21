"""The centred Fourier transform and several coils, against numpy and dense algebra."""

import numpy as np
import pytest
import torch

from medscore.operators.mri.fourier import Fourier, _complex, fft2c, ifft2c
from medscore.operators.mri.masks import equispaced
from medscore.operators.mri.multicoil import MulticoilFourier
from medscore.operators.mri.sensitivity import birdcage

SIZES = [(8, 8), (10, 6), (9, 7), (12, 5)]
sizes = pytest.mark.parametrize("shape", SIZES)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.view_as_complex(torch.randn(*shape, 2, generator=generator, dtype=torch.float64))


def numpy_fft2c(x: torch.Tensor) -> torch.Tensor:
    axes = (-2, -1)
    shifted = np.fft.ifftshift(x.numpy(), axes=axes)
    return torch.from_numpy(np.fft.fftshift(np.fft.fft2(shifted, norm="ortho"), axes=axes))


@sizes
def test_the_transform_is_numpys_between_shifts(shape: tuple[int, int]) -> None:
    x = draw(2, 3, *shape)
    torch.testing.assert_close(fft2c(x), numpy_fft2c(x))


@sizes
def test_the_operator_masks_numpys_transform(shape: tuple[int, int]) -> None:
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.5
    x, operator = draw(2, 1, *shape), Fourier(mask)
    for _ in range(2):  # the second call reuses the buffer
        torch.testing.assert_close(operator.forward(x), mask * numpy_fft2c(x))
    first = operator.forward(x)
    operator.forward(draw(2, 1, *shape, seed=3))
    torch.testing.assert_close(first, mask * numpy_fft2c(x))
    torch.testing.assert_close(
        operator.forward(x.clone().requires_grad_()).detach(), mask * numpy_fft2c(x)
    )


@sizes
def test_the_transform_is_unitary(shape: tuple[int, int]) -> None:
    x = draw(2, 1, *shape)
    torch.testing.assert_close(ifft2c(fft2c(x)), x)
    torch.testing.assert_close(fft2c(x).norm(), x.norm())


def test_a_point_at_the_centre_is_flat_and_a_constant_is_the_centre() -> None:
    for n in (8, 9):
        point = torch.zeros(1, 1, n, n, dtype=torch.complex128)
        point[..., n // 2, n // 2] = n
        torch.testing.assert_close(fft2c(point), torch.ones_like(point))
        torch.testing.assert_close(fft2c(torch.ones_like(point)), point)


def test_real_images_are_refused() -> None:
    """Annotations are checked in tests, so the check itself is called."""
    with pytest.raises(ValueError, match="expected a complex type"):
        _complex(torch.zeros(1, 1, 8, 8))


def test_a_mask_of_lines_only_is_refused_with_a_hint() -> None:
    with pytest.raises(ValueError, match="expand a mask of lines"):
        Fourier(torch.ones(8).bool())


def test_several_coils_are_the_dense_matrix_f_times_s() -> None:
    shape, maps = (4, 5), draw(3, 4, 5, seed=2)
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(3)) < 0.6
    operator, x = MulticoilFourier(maps, mask), draw(1, 1, 4, 5)
    expected = torch.stack([mask * numpy_fft2c(s * x[0, 0]) for s in maps])[None]
    torch.testing.assert_close(operator.forward(x), expected)


def test_cg_sense_recovers_an_image_from_fewer_lines_than_it_has() -> None:
    """Four well-conditioned coils and every other line: the image, exactly."""
    operator = MulticoilFourier(birdcage(8, 16, 16), equispaced((16, 16), 2.0))
    x = draw(1, 1, 16, 16).to(torch.complex128)
    found = operator.pinv(operator.forward(x), tol=1e-10).x
    assert float((found - x).norm() / x.norm()) <= 1e-6
    zero_filled = operator.zero_filled(operator.forward(x))
    assert float((zero_filled - x).norm() / x.norm()) > 0.3


def test_pixels_outside_all_sensitivities_are_zero_and_left_alone() -> None:
    maps = birdcage(4, 8, 8)
    maps[:, :2] = 0
    operator, x = MulticoilFourier(maps, torch.ones(8, 8).bool()), draw(1, 1, 8, 8)
    back = operator.T_inv(operator.T(x))
    assert not bool(back[..., :2, :].any())
    torch.testing.assert_close(back[..., 2:, :], x[..., 2:, :])
    moved = operator.project_exact(x, operator.forward(draw(1, 1, 8, 8, seed=4))).x
    torch.testing.assert_close(moved[..., :2, :], x[..., :2, :])


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (torch.ones(4, 8, 8), "expected complex"),
        (torch.zeros(4, 8, 8, dtype=torch.complex64), "not zero everywhere"),
        (torch.full((4, 8, 8), float("nan"), dtype=torch.complex64), "finite"),
        (torch.ones(4, 8, 9, dtype=torch.complex64), "8x9 pixels, the mask 8x8"),
    ],
)
def test_invalid_sensitivities_are_refused(maps: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MulticoilFourier(maps, torch.ones(8, 8).bool())

"""The Hartley transform stands for the k-space of real images, exactly."""

import pytest
import torch

from medscore.operators.mri.fourier import Fourier, fft2c
from medscore.operators.mri.hartley import Hartley, coefficients, kspace_mask
from medscore.operators.mri.masks import acceleration_of, equispaced, mirrored, opposite

SIZES = [(12, 16), (9, 11), (8, 7)]


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("size", SIZES)
def test_the_transform_is_orthogonal_and_its_own_inverse(size: tuple[int, int]) -> None:
    x, operator = draw(2, 1, *size), Hartley(torch.ones(size))
    torch.testing.assert_close(operator.T(operator.T(x)), x)
    torch.testing.assert_close(operator.T(x).norm(), x.norm())


@pytest.mark.parametrize("size", SIZES)
def test_opposite_is_the_conjugate_of_a_real_images_kspace(size: tuple[int, int]) -> None:
    z = fft2c(draw(1, 1, *size).to(torch.complex128))
    torch.testing.assert_close(opposite(z), z.conj())


@pytest.mark.parametrize("size", SIZES)
def test_any_kspace_samples_of_a_real_image_are_coefficients(size: tuple[int, int]) -> None:
    """Also for an asymmetric mask, the samples determine the Hartley coefficients."""
    mask = torch.rand(size, generator=torch.Generator().manual_seed(1)) < 0.4
    x = draw(2, 1, *size)
    kspace = Fourier(mask).forward(x.to(torch.complex128))
    torch.testing.assert_close(coefficients(kspace, mask), Hartley(kspace_mask(mask)).forward(x))


def test_coefficients_average_what_was_measured_twice() -> None:
    x = draw(1, 1, 8, 8)
    kspace = fft2c(x.to(torch.complex128))
    noisy = kspace + torch.complex(draw(1, 1, 8, 8, seed=1), draw(1, 1, 8, 8, seed=2))
    found = coefficients(noisy, torch.ones(8, 8))
    even = (noisy + opposite(noisy).conj()) / 2
    torch.testing.assert_close(found, even.real - even.imag)


def test_a_mask_that_contains_k_without_its_opposite_is_refused() -> None:
    mask = torch.zeros(8, 8)
    mask[2, 3] = 1
    with pytest.raises(ValueError, match="k without -k"):
        Hartley(mask)


@pytest.mark.parametrize("width", [128, 63])
def test_mirrored_masks_gain_nothing_from_real_images(width: int) -> None:
    mask = equispaced((4, width), 4.0)
    both = mirrored(mask)
    assert torch.equal(kspace_mask(both), both)
    assert acceleration_of(both) == pytest.approx(acceleration_of(mask), rel=0.07)
    assert bool(both[:, width // 2].all())

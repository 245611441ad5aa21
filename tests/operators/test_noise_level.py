"""Noise levels from data: medians of many normal values, in the presence of signal.

The median of n absolute normal values has a relative standard error of 1.17 / sqrt(n). Bounds are 6
standard errors plus the contribution of the signal; the false-alarm rate is below 1e-8 each.
"""

import math

import pytest
import torch
from torch import Tensor

from medscore.operators.ct.phantoms import SHEPP_LOGAN, rasterize, scaled
from medscore.operators.ct.scans import sparse_view
from medscore.operators.mri.fourier import fft2c
from medscore.operators.mri.masks import equispaced
from medscore.operators.noise import ComplexGaussianNoise, GaussianNoise, PoissonNoise
from medscore.operators.noise_level import (
    background,
    kspace_corners,
    photons,
    repeated_differences,
    unexplained,
)

SIDE = 128


def body() -> Tensor:
    """The Shepp-Logan head as attenuation in 1/mm, about 130 mm wide."""
    return 0.02 * rasterize(scaled(SHEPP_LOGAN, SIDE * 1.5 / 2), SIDE, 1.5)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def scan() -> tuple[Tensor, Tensor]:
    operator = sparse_view(SIDE, 1.5, 45)
    y = operator.forward(body().expand(2, 1, SIDE, SIDE).float())
    return y, operator.mask(y)


def test_corners_of_kspace_give_the_noise_of_the_receiver() -> None:
    mask = equispaced((SIDE, SIDE), 2.0)
    k = fft2c(body().to(torch.complex64).expand(2, 1, SIDE, SIDE) * 5)
    levels = torch.tensor([0.02, 0.05])
    noisy = torch.cat(
        [ComplexGaussianNoise(float(s))(k[:1], mask.float(), generator()) for s in levels]
    )
    found = kspace_corners(noisy, mask)
    n = 2 * 0.05 * int(mask.sum())
    assert float((found / levels - 1).abs().max()) < 6 * 1.17 / math.sqrt(n)


def test_repeated_differences_are_insensitive_to_anatomy() -> None:
    y, mask = scan()
    for std in (0.05, 0.1):
        found = repeated_differences(GaussianNoise(std)(y, mask, generator()), mask)
        assert float((found / std - 1).abs().max()) < 0.1


@pytest.mark.parametrize("more", [0.0, 0.03, 0.1])
def test_what_known_noise_does_not_explain_is_found(more: float) -> None:
    """Air with rays of unequal noise: 22,000 differences, of which neighbours share rays. The upper
    quartile of a normal variable has a relative standard error of 1.4 / sqrt(n), here 1 % for
    about 20,000 / 5 independent ones; s^2 is the difference of two variances. Bound: 6 of these.
    """
    known = torch.linspace(0.01, 0.05, 128).expand(2, 1, 90, 128)
    noise = torch.randn(known.shape, generator=generator())
    y = noise * (known.square() + more**2).sqrt()
    found = unexplained(y, torch.ones_like(known), known)
    assert found.shape == (2,)
    bound = 12 * 0.022 * (float(known.square().mean()) + more**2)
    assert float((found.square() - more**2).abs().max()) < bound


def test_rays_that_were_not_measured_explain_and_need_nothing() -> None:
    y, mask = scan()
    noisy = GaussianNoise(0.05)(y, mask, generator())
    known = torch.full_like(y, 0.02)
    spoilt = torch.where(mask.bool(), noisy, 1e3)
    assert torch.equal(unexplained(noisy, mask, known), unexplained(spoilt, mask, known))
    few = torch.zeros_like(mask.expand(y.shape)).contiguous()
    few[..., 0, :30] = 1
    assert not unexplained(spoilt, few, known).any()


@pytest.mark.parametrize("more", [0.0, 0.1])
def test_noise_far_above_the_anatomy_is_explained_by_its_model(more: float) -> None:
    y, mask = scan()
    known = GaussianNoise(0.1)(y, mask, generator())
    noisy = GaussianNoise(more)(known, mask, generator().manual_seed(1)) if more else known
    found = unexplained(noisy, mask, torch.full_like(y, 0.1))
    assert float((found - more).abs().max()) < 0.03


def test_photons_are_counted_from_the_sinogram() -> None:
    y, mask = scan()
    for count in (3e3, 1e4):
        found = photons(PoissonNoise(count)(y, mask, generator()), mask)
        assert (
            float((found / count - 1).abs().max()) < 0.25
        )  # twice the bound of the standard deviation


def test_rays_through_air_give_the_photons_too() -> None:
    y, mask = scan()
    found = background(PoissonNoise(1e4)(y, mask, generator()), mask)
    assert float((found * 100 - 1).abs().max()) < 0.15


def test_only_measured_rays_count() -> None:
    """Values where nothing was measured are ignored, and gaps are not bridged."""
    y, mask = scan()
    noisy = GaussianNoise(0.05)(y, mask, generator())
    spoilt = noisy + (1 - mask.expand_as(noisy)) * 1e3
    assert torch.equal(repeated_differences(noisy, mask), repeated_differences(spoilt, mask))
    holes = mask.expand_as(y).clone()
    holes[..., ::4] = 0
    with pytest.raises(ValueError, match="0 runs of five"):
        repeated_differences(noisy * holes, holes)


def test_too_few_numbers_and_no_noise_are_refused() -> None:
    y, mask = scan()
    with pytest.raises(ValueError, match="no noise"):
        photons(torch.zeros_like(y), mask)
    with pytest.raises(ValueError, match="at least 32"):
        kspace_corners(torch.ones(1, 1, 8, 8, dtype=torch.complex64), torch.ones(8, 8))
    with pytest.raises(ValueError, match="rays through air"):
        background(y + 1, mask)

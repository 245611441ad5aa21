"""Sparse wavelets: the proximal map, and the minimum."""

import pytest
import pywt
import torch
from dense import N, ct, disc, mri, noise
from torch import Tensor

from medscore.operators.base import Operator
from medscore.operators.mri.fourier import Fourier
from medscore.reconstruction.baselines.fista import STEP
from medscore.reconstruction.baselines.wavelet import (
    L1Wavelet,
    WaveletProx,
    depth,
    shift_sequence,
    soft_details,
)

COMPLEX = torch.complex128


def soft(c: Tensor, weight: float) -> Tensor:
    return c * (1 - weight / c.abs().clamp_min(1e-300)).clamp_min(0)


def haar(x: Tensor) -> tuple[Tensor, Tensor]:
    """One level by hand: means (..., H/2, W/2), and three detail bands (3, ..., H/2, W/2)."""
    a, b = x[..., ::2, ::2], x[..., ::2, 1::2]
    c, d = x[..., 1::2, ::2], x[..., 1::2, 1::2]
    details = torch.stack([a + b - c - d, a - b + c - d, a - b - c + d]) / 2
    return (a + b + c + d) / 2, details


def details_of(x: Tensor, wavelet: str, levels: int) -> tuple[Tensor, Tensor]:
    """Coarse coefficients and all others, each as one row."""
    coarse, *rest = pywt.wavedec2(x.numpy(), wavelet, mode="periodization", level=levels)
    flat = [torch.from_numpy(d).flatten() for level in rest for d in level]
    return torch.from_numpy(coarse).flatten(), torch.cat(flat)


@pytest.mark.parametrize("dtype", [torch.float64, COMPLEX])
def test_one_level_of_haar_is_thresholding_by_hand(dtype: torch.dtype) -> None:
    x = noise(2, 1, 8, 6, dtype=dtype)
    found = soft_details(x, 0.4, "haar", 1)
    (mean, details), (mean_now, details_now) = haar(x), haar(found)
    torch.testing.assert_close(mean_now, mean)
    torch.testing.assert_close(details_now, soft(details, 0.4))


@pytest.mark.parametrize("wavelet", ["haar", "db4", "sym4", "coif1"])
def test_full_kspace_gives_the_thresholded_image(wavelet: str) -> None:
    """T is unitary: the minimiser is W^H soft(W T^H y)."""
    x = disc(2) + 0.1 * noise(2, 1, N, N, dtype=COMPLEX)
    operator = Fourier(torch.ones(N, N))
    levels = depth(N, wavelet, 3)
    lustig = L1Wavelet(weight=0.05, wavelet=wavelet, levels=3, iterations=40, shifts=1)
    found = lustig.solve(operator, operator.forward(x))
    torch.testing.assert_close(found, soft_details(x, 0.05, wavelet, levels), atol=1e-8, rtol=0)


@pytest.mark.slow
def test_the_minimum_satisfies_the_optimality_conditions() -> None:
    """W g = weight W x / |W x| where that is not 0, at most weight elsewhere, 0 in the coarse
    coefficients, with g = A^H (y - A x) / |A|^2.
    """
    operator, weight = mri(), 0.02
    y = operator.forward(disc().to(COMPLEX) + 0.05 * noise(1, 1, N, N, dtype=COMPLEX))
    x = L1Wavelet(weight=weight, wavelet="haar", levels=2, iterations=800, shifts=1).solve(
        operator, y
    )
    g = operator.adjoint(y - operator.forward(x)) / operator.norm_squared(y)
    (coarse, pull), (_, details) = details_of(g, "haar", 2), details_of(x, "haar", 2)
    there = details.abs() > 1e-6
    assert 0.02 < float(there.double().mean()) < 0.98
    expected = weight * details[there] / details[there].abs()
    torch.testing.assert_close(pull[there], expected, atol=1e-5, rtol=0)
    assert float(pull.abs().max()) <= weight * (1 + 1e-4)
    assert float(coarse.abs().max()) < 1e-6


def test_shifts_are_the_same_every_time_and_of_both_parities() -> None:
    shifts = shift_sequence(16, 16)
    assert shifts == shift_sequence(16, 16)
    assert shifts[0] == (0, 0)
    assert shift_sequence(1, 16) == [(0, 0)]
    assert {(a % 2, b % 2) for a, b in shifts} == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_a_shifted_transform_is_that_of_the_shifted_image() -> None:
    v, prox = noise(1, 1, N, N, dtype=COMPLEX), WaveletProx(0.3, "haar", 2, 5)
    for a, b in shift_sequence(5, 4):
        expected = soft_details(v.roll((a, b), (-2, -1)), 0.3, "haar", 2).roll((-a, -b), (-2, -1))
        torch.testing.assert_close(prox(v), expected)


def test_sides_that_do_not_divide_are_padded_and_cut_off_again() -> None:
    v = noise(1, 1, 13, 18, dtype=COMPLEX)
    torch.testing.assert_close(WaveletProx(1e-12, "haar", 3, 4)(v), v)
    operator = Fourier(torch.ones(13, 18))
    found = L1Wavelet(weight=1e-3, levels=3).solve(operator, operator.forward(v))
    assert float((found - v).abs().max()) < 0.02


def test_levels_are_fewer_where_the_filter_is_longer_than_the_image() -> None:
    assert [depth(n, "db4", 4) for n in (4, 16, 32, 128, 512)] == [1, 1, 2, 4, 4]


@pytest.mark.parametrize("operator", [ct(), mri()], ids=["ct", "mri"])
def test_a_batch_gives_what_its_samples_give(operator: Operator) -> None:
    x = disc(3).to(COMPLEX if operator.zero_filled_is_pinv else torch.float64)
    y = operator.forward(x)
    lustig = L1Wavelet(wavelet="haar", iterations=50)
    alone = [lustig.solve(operator, part) for part in y.split(1)]
    torch.testing.assert_close(lustig.solve(operator, y), torch.cat(alone))


def test_real_images_do_not_go_below_zero() -> None:
    found = WaveletProx(0.1 * STEP, "db2", 2, 3)(disc() - 0.2)
    assert float(found.min()) == 0

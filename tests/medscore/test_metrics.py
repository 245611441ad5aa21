"""Metrics follow their stated convention."""

import numpy as np
import pytest

from medscore.attenuation import MU_WATER, hu_to_mu, mu_to_hu
from medscore.metrics import CT_CONVENTION, quality


def image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1000, 1500, (2, 16, 16)).astype(np.float32)


def test_psnr_is_that_of_a_known_error() -> None:
    """25 HU on a range of 2500 is 1 %, 40 dB."""
    reference = image(0).clip(-900, 1400)
    assert quality(reference + 25, reference, CT_CONVENTION).psnr == pytest.approx(40.0, abs=1e-3)


def test_values_outside_the_window_do_not_count() -> None:
    reference = image(0)
    outside = np.where(reference > 1000, 1500, reference)
    beyond = np.where(reference > 1000, 9000, reference)
    assert quality(outside, reference, CT_CONVENTION) == quality(beyond, reference, CT_CONVENTION)


def test_equal_images_have_ssim_1_and_noise_lowers_it() -> None:
    reference = image(0)
    other = quality(image(1), reference, CT_CONVENTION).ssim
    with np.errstate(divide="ignore"):
        assert quality(reference, reference, CT_CONVENTION).ssim == pytest.approx(1.0)
    assert other < 0.2


def test_the_convention_names_range_and_window() -> None:
    text = str(CT_CONVENTION)
    assert "-1000..1500 HU" in text
    assert "data range 1" in text
    assert "7x7" in text


def test_hu_and_attenuation_are_inverse_above_air() -> None:
    hu = np.linspace(-1000, 3000, 50)
    np.testing.assert_allclose(mu_to_hu(hu_to_mu(hu)), hu, atol=1e-9)
    assert hu_to_mu(np.array([0.0]))[0] == MU_WATER
    assert hu_to_mu(np.array([-3024.0]))[0] == 0.0

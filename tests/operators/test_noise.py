"""Noise models have the distribution they state, on measured entries only."""

import math
from collections.abc import Callable

import pytest
import torch

from medscore.operators.noise import (
    ComplexGaussianNoise,
    GaussianNoise,
    Noiseless,
    NoiseModel,
    PoissonNoise,
)

N = 40_000
MODELS: list[NoiseModel] = [Noiseless(), GaussianNoise(0.1), PoissonNoise(1e4)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_unmeasured_entries_stay_zero_and_draws_are_reproducible(model: NoiseModel) -> None:
    y, mask = torch.rand(2, 1, 8, 8, generator=generator()), torch.zeros(1, 1, 8, 1)
    mask[0, 0, ::2] = 1
    noisy = model(y * mask, mask, generator(3))
    assert torch.equal(noisy[:, :, 1::2], torch.zeros(2, 1, 4, 8))
    assert torch.equal(noisy, model(y * mask, mask, generator(3)))


def test_gaussian_noise_has_its_standard_deviation() -> None:
    """6 standard errors, twice: false-alarm rate below 1e-8."""
    y, one = torch.zeros(N), torch.ones(1)
    noisy = GaussianNoise(0.1)(y, one, generator())
    assert abs(float(noisy.mean())) < 6 * 0.1 / math.sqrt(N)
    assert float(noisy.std()) == pytest.approx(0.1, rel=6 / math.sqrt(2 * N))


def test_poisson_noise_has_the_variance_of_photon_counting() -> None:
    """With m = I0 exp(-y) photons expected, -log(N / I0) has the mean y + 1 / (2 m) and the
    variance (1 + 3 / (2 m)) / m, up to terms in 1 / m^3. 6 standard errors: false-alarm rate
    below 1e-8. At m = 37 the shift of the mean is 16 of them, so the curvature is seen.
    """
    photons = 5e3 * math.exp(-4.9)
    y, one = torch.full((N,), 4.9, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    noisy = PoissonNoise(5e3)(y, one, generator())
    variance = (1 + 1.5 / photons) / photons
    error = math.sqrt(variance / N)
    assert float(noisy.var()) == pytest.approx(variance, rel=6 * math.sqrt(2 / N) + 0.01)
    assert float(noisy.mean()) == pytest.approx(4.9 + 0.5 / photons, abs=6 * error)


def test_a_ray_without_photons_reads_as_one_photon() -> None:
    y = torch.full((10,), 200.0)
    noisy = PoissonNoise(1e5)(y, torch.ones(1), generator())
    torch.testing.assert_close(noisy, torch.full((10,), math.log(1e5)))


def test_complex_noise_has_its_standard_deviation_in_each_part() -> None:
    """6 standard errors, four times: false-alarm rate below 1e-7."""
    y, one = torch.zeros(N, dtype=torch.complex64), torch.ones(1)
    noisy = ComplexGaussianNoise(0.1)(y, one, generator())
    for part in (noisy.real, noisy.imag):
        assert abs(float(part.mean())) < 6 * 0.1 / math.sqrt(N)
        assert float(part.std()) == pytest.approx(0.1, rel=6 / math.sqrt(2 * N))
    correlation = float((noisy.real * noisy.imag).mean()) / 0.01
    assert abs(correlation) < 6 / math.sqrt(N)


def test_electronic_noise_adds_its_variance() -> None:
    """To first order var(-log(N / I0)) = (m + sigma_e^2) / m^2, with m photons expected; the next
    order is 0.2 %. 6 standard errors: false-alarm rate below 1e-8.
    """
    y, one = torch.full((N,), 1.0, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    expected, electronic = 1e4 * math.exp(-1.0), 60.0
    noisy = PoissonNoise(1e4, electronic)(y, one, generator())
    variance = (expected + electronic**2) / expected**2
    assert float(noisy.var()) == pytest.approx(variance, rel=6 * math.sqrt(2 / N) + 0.005)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianNoise(-1.0), "`std` is -1"),
        (lambda: ComplexGaussianNoise(float("nan")), "`std` is nan"),
        (lambda: PoissonNoise(0.0), "`photons` is 0"),
        (lambda: PoissonNoise(1e4, -1.0), "`electronic` is -1"),
    ],
)
def test_invalid_noise_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_real_noise_is_not_added_to_complex_data_nor_the_other_way() -> None:
    one = torch.ones(1)
    with pytest.raises(ValueError, match="use ComplexGaussianNoise"):
        GaussianNoise(0.1)(torch.zeros(4, dtype=torch.complex64), one, generator())
    with pytest.raises(ValueError, match="use GaussianNoise"):
        ComplexGaussianNoise(0.1)(torch.zeros(4), one, generator())

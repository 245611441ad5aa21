"""Noise models have the distribution they state, on measured entries only."""

import math

import pytest
import torch

from medscore.operators.noise import GaussianNoise, Noiseless, NoiseModel, PoissonNoise

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

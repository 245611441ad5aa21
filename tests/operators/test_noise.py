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
    """5 standard errors: false-alarm rate below 1e-6."""
    y, one = torch.zeros(N), torch.ones(1)
    noisy = GaussianNoise(0.1)(y, one, generator())
    assert abs(float(noisy.mean())) < 5 * 0.1 / math.sqrt(N)
    assert float(noisy.std()) == pytest.approx(0.1, rel=5 / math.sqrt(2 * N))


def test_poisson_noise_has_the_variance_of_photon_counting() -> None:
    """Var(-log(N / I0)) = exp(y) / I0 for many photons; 5 standard errors and the 2 % next term."""
    y, one = torch.full((N,), 2.0, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    noisy = PoissonNoise(1e4)(y, one, generator())
    variance = math.exp(2.0) / 1e4
    assert float(noisy.var()) == pytest.approx(variance, rel=5 * math.sqrt(2 / N) + 0.02)
    bias = variance / 2  # Jensen
    assert float(noisy.mean()) == pytest.approx(2.0 + bias, abs=5 * math.sqrt(variance / N))


def test_a_ray_without_photons_reads_as_one_photon() -> None:
    y = torch.full((10,), 200.0)
    noisy = PoissonNoise(1e5)(y, torch.ones(1), generator())
    torch.testing.assert_close(noisy, torch.full((10,), math.log(1e5)))

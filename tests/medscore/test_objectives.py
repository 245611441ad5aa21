"""The objective measures what score matching says it does."""

import pytest
import torch
from torch import Tensor

from medscore.analytic import GaussianPrior
from medscore.objectives import (
    EDMWeighting,
    LogNormalTimes,
    UniformTimes,
    denoising_loss,
    score_weighting,
)
from medscore.prior import Prior
from medscore.sde import SDE, VE, VP, SubVP, expand

SDES: list[SDE] = [VE(0.01, 50.0), VP(), SubVP()]
all_sdes = pytest.mark.parametrize("sde", SDES, ids=repr)


def draw(n: int, seed: int) -> Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@all_sdes
def test_score_weighting_is_the_weighted_score_error(sde: SDE) -> None:
    """sigma^2 |s + z / sigma|^2 of Eq. 7.7, computed from the score itself."""
    prior = GaussianPrior(sde, torch.zeros(2).double(), torch.eye(2).double())
    x0, z, t = draw(10, 0), draw(10, 1), torch.linspace(0.1, 0.9, 10, dtype=torch.float64)
    sigma = expand(sde.sigma(t), z)
    error = prior.score(sde.marginal(x0, t, z), t) + z / sigma
    expected = (sigma * error).square().mean(1)
    torch.testing.assert_close(denoising_loss(prior, x0, t, z, score_weighting), expected)


@all_sdes
def test_the_exact_denoiser_reaches_the_posterior_variance(sde: SDE) -> None:
    """The mean loss is trace(posterior covariance) / D; 5 standard errors, false alarms < 1e-6."""
    covariance = torch.tensor([[1.0, 0.6], [0.6, 0.5]], dtype=torch.float64)
    prior = GaussianPrior(sde, torch.zeros(2).double(), covariance)
    n = 40_000
    x0 = draw(n, 0) @ torch.linalg.cholesky(covariance).T
    t = torch.full((n,), 0.4, dtype=torch.float64)
    losses = denoising_loss(prior, x0, t, draw(n, 1), torch.ones_like)
    alpha, sigma = sde.alpha(t[0]), sde.sigma(t[0])
    eye = torch.eye(2, dtype=torch.float64)
    inner = torch.linalg.inv(alpha**2 * covariance + sigma**2 * eye)
    posterior = covariance - alpha**2 * covariance @ inner @ covariance
    bound = 5 * float(losses.std()) / n**0.5
    assert float(losses.mean()) == pytest.approx(float(posterior.trace()) / 2, abs=bound)


class Shifted(Prior):
    """The exact denoiser, off by a constant."""

    def __init__(self, inner: Prior, shift: float) -> None:
        self.inner, self.sde, self.shift = inner, inner.sde, shift

    def denoise(self, x: Tensor, t: Tensor) -> Tensor:
        return self.inner.denoise(x, t) + self.shift


@all_sdes
@pytest.mark.parametrize("shift", [-0.1, 0.1])
def test_any_other_denoiser_loses(sde: SDE, shift: float) -> None:
    """A shift c adds c^2 to the mean loss; paired draws, 5 standard errors: false-alarm rate
    below 1e-6 for each case."""
    exact = GaussianPrior(sde, torch.zeros(2).double(), torch.eye(2).double())
    n = 20_000
    x0, z, t = draw(n, 2), draw(n, 3), torch.full((n,), 0.5, dtype=torch.float64)
    gap = denoising_loss(Shifted(exact, shift), x0, t, z, torch.ones_like) - denoising_loss(
        exact, x0, t, z, torch.ones_like
    )
    assert float(gap.mean()) == pytest.approx(shift**2, abs=5 * float(gap.std()) / n**0.5)


def test_edm_weighting_makes_the_networks_target_unit_variance() -> None:
    """Weight times (s d)^2 / (s^2 + d^2), the variance the network's output stands for, is 1."""
    s, d = torch.logspace(-3, 2, 20, dtype=torch.float64), 0.3
    variance = (s * d) ** 2 / (s**2 + d**2)
    torch.testing.assert_close(EDMWeighting(d)(s) * variance, torch.ones_like(s))


@all_sdes
def test_log_normal_times_have_the_stated_median_and_stay_in_range(sde: SDE) -> None:
    times = LogNormalTimes(mean=-1.0, std=1.0)
    u = torch.linspace(0, 1, 20_001, dtype=torch.float64)[:-1]
    t = times(sde, u)
    assert float(t.min()) >= sde.eps
    assert float(t.max()) <= 1.0
    median = t[10_000:10_001]
    log_ratio = torch.log(sde.sigma(median) / sde.alpha(median))
    assert float(log_ratio) == pytest.approx(-1.0, abs=0.01)
    assert bool((t.diff() >= 0).all())


def test_uniform_times_fill_the_interval() -> None:
    u = torch.linspace(0, 1, 11)
    torch.testing.assert_close(UniformTimes()(VP(), u), torch.linspace(1e-3, 1, 11))

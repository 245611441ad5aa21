"""Denoising objectives are the weighted score errors of score matching."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from medscore.objectives import denoising
from medscore.objectives.denoising import (
    Denoising,
    DiscreteTimes,
    EDMWeighting,
    ImportanceTimes,
    LogNormalTimes,
    UniformTimes,
    denoising_loss,
    score_weighting,
)
from medscore.priors.analytic import GaussianPrior, GMMPrior
from medscore.priors.base import Prior
from medscore.sdes.base import SDE, expand
from medscore.sdes.ddpm import DDPM
from medscore.sdes.linear import VE, VP, SubVP

SDES: list[SDE] = [VE(0.01, 50.0), VP(), SubVP()]
all_sdes = pytest.mark.parametrize("sde", SDES, ids=repr)


def plain(sde: SDE, t: Tensor) -> Tensor:
    """The mean square without a weight."""
    return torch.ones_like(t)


def draw(n: int, seed: int) -> Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@all_sdes
def test_score_weighting_is_the_weighted_score_error(sde: SDE) -> None:
    """sigma^2 |s + z / sigma|^2 of Eq. 7.7, computed from the score."""
    prior = GaussianPrior(sde, torch.zeros(2).double(), torch.eye(2).double())
    x0, z, t = draw(10, 0), draw(10, 1), torch.linspace(0.1, 0.9, 10, dtype=torch.float64)
    sigma = expand(sde.sigma(t), z)
    error = prior.score(sde.marginal(x0, t, z), t) + z / sigma
    expected = (sigma * error).square().mean(1)
    torch.testing.assert_close(denoising_loss(prior, x0, t, z, score_weighting), expected)


@all_sdes
def test_the_exact_denoiser_reaches_the_posterior_variance(sde: SDE) -> None:
    """The mean loss is trace(posterior covariance) / D within 5 standard errors, failing < 1e-6."""
    covariance = torch.tensor([[1.0, 0.6], [0.6, 0.5]], dtype=torch.float64)
    prior = GaussianPrior(sde, torch.zeros(2).double(), covariance)
    n = 40_000
    x0 = draw(n, 0) @ torch.linalg.cholesky(covariance).T
    t = torch.full((n,), 0.4, dtype=torch.float64)
    losses = denoising_loss(prior, x0, t, draw(n, 1), plain)
    alpha, sigma = sde.alpha(t[0]), sde.sigma(t[0])
    eye = torch.eye(2, dtype=torch.float64)
    inner = torch.linalg.inv(alpha**2 * covariance + sigma**2 * eye)
    posterior = covariance - alpha**2 * covariance @ inner @ covariance
    bound = 5 * float(losses.std()) / n**0.5
    assert float(losses.mean()) == pytest.approx(float(posterior.trace()) / 2, abs=bound)


class Shifted(Prior):
    """The exact denoiser plus a constant."""

    def __init__(self, inner: Prior, shift: float) -> None:
        self.inner, self.sde, self.shift = inner, inner.sde, shift

    def denoise(self, x: Tensor, t: Tensor) -> Tensor:
        return self.inner.denoise(x, t) + self.shift


@all_sdes
@pytest.mark.parametrize("shift", [-0.1, 0.1])
def test_a_biased_denoiser_has_a_larger_loss(sde: SDE, shift: float) -> None:
    """A shift c adds c^2 to the mean loss, for paired draws within 5 standard errors.

    The false-alarm rate is below 1e-6 for each case.
    """
    exact = GaussianPrior(sde, torch.zeros(2).double(), torch.eye(2).double())
    n = 20_000
    x0, z, t = draw(n, 2), draw(n, 3), torch.full((n,), 0.5, dtype=torch.float64)
    gap = denoising_loss(Shifted(exact, shift), x0, t, z, plain) - denoising_loss(
        exact, x0, t, z, plain
    )
    assert float(gap.mean()) == pytest.approx(shift**2, abs=5 * float(gap.std()) / n**0.5)


@all_sdes
def test_edm_weighting_makes_the_networks_target_unit_variance(sde: SDE) -> None:
    """The weight times (s d)^2 / (s^2 + d^2), the variance of the network's target, is 1."""
    t, d = torch.linspace(sde.eps, 1, 20, dtype=torch.float64), 0.3
    s = sde.sigma(t) / sde.alpha(t)
    variance = (s * d) ** 2 / (s**2 + d**2)
    torch.testing.assert_close(EDMWeighting(d)(sde, t) * variance, torch.ones_like(s))


def mixture(sde: SDE) -> GMMPrior:
    means = torch.tensor([[-0.5, 0.2], [0.6, 0.4]], dtype=torch.float64)
    covariances = torch.tensor([[[0.1, 0.05], [0.05, 0.2]], [[0.3, 0.0], [0.0, 0.02]]])
    weights = torch.tensor([0.3, 0.7], dtype=torch.float64)
    return GMMPrior(sde, weights, means, covariances.double())


def mean_over_scales(
    objective: Denoising, prior: Prior, scales: int, x: Tensor, z: Tensor
) -> float:
    """The mean over the N scales for one x0 and z, with u in the middle of each scale."""
    u = (torch.arange(scales, dtype=torch.float64) + 0.5) / scales
    return float(objective(prior, x.expand(scales, -1), u, z.expand(scales, -1)).mean())


def test_smld_is_eq_7_1() -> None:
    """Eq. 7.1 divided by N D, exactly, since no times are drawn."""
    low, high, n = 0.02, 5.0, 12
    prior, x, z = mixture(VE(low, high, eps=0.0)), draw(1, 4), draw(1, 5)
    total = 0.0
    for i in range(n):
        sigma = low * (high / low) ** (i / (n - 1))
        noisy = x + sigma * z
        time = torch.tensor([i / (n - 1)], dtype=torch.float64)
        kernel_score = -(noisy - x) / sigma**2
        total += sigma**2 * float((prior.score(noisy, time) - kernel_score).square().sum())
    found = mean_over_scales(denoising.smld(n), prior, n, x, z)
    assert found * n * 2 == pytest.approx(total, rel=1e-10)


def test_ddpm_is_eq_7_3() -> None:
    """Eq. 7.3 divided by N D; alpha_i in the text is the product of 1 - beta_j."""
    n, low, high = 12, 0.1, 8.0
    prior, x, z = mixture(DDPM(n, low, high)), draw(1, 4), draw(1, 5)
    total, product = 0.0, 1.0
    for i in range(1, n + 1):
        product *= 1 - (low + (i - 1) / (n - 1) * (high - low)) / n
        noisy = math.sqrt(product) * x + math.sqrt(1 - product) * z
        time = torch.tensor([i / n], dtype=torch.float64)
        kernel_score = -(noisy - math.sqrt(product) * x) / (1 - product)
        total += (1 - product) * float((prior.score(noisy, time) - kernel_score).square().sum())
    found = mean_over_scales(denoising.ddpm(n), prior, n, x, z)
    assert found * n * 2 == pytest.approx(total, rel=1e-10)


@pytest.mark.parametrize(
    ("objective", "times", "weighting"),
    [
        (denoising.denoising_score_matching(), UniformTimes(), score_weighting),
        (denoising.likelihood(), UniformTimes(), denoising.likelihood_weighting),
        (denoising.likelihood_importance(), ImportanceTimes(), denoising.importance_weighting),
        (denoising.edm(0.3, -1.2, 1.2), LogNormalTimes(-1.2, 1.2), EDMWeighting(0.3)),
        (denoising.smld(7), DiscreteTimes(7), score_weighting),
        (denoising.ddpm(7), DiscreteTimes(7), score_weighting),
    ],
)
def test_an_objective_has_its_times_and_weighting(
    objective: Denoising, times: denoising.TimesRule, weighting: Callable[[SDE, Tensor], Tensor]
) -> None:
    """Each sample of a batch is at the time of its own u, also in single precision."""
    prior = mixture(VP())
    u = torch.tensor([0.0, 0.3, 0.999], dtype=torch.float64)
    x0, z = draw(3, 6), draw(3, 7)
    expected = denoising_loss(prior, x0, times(VP(), u), z, weighting)
    torch.testing.assert_close(objective(prior, x0, u, z), expected)
    single = GMMPrior(VP(), prior.weights.float(), prior.means.float(), prior.covariances.float())
    found = objective(single, x0.float(), u.float(), z.float())
    torch.testing.assert_close(found, expected.float(), rtol=1e-3, atol=1e-3)

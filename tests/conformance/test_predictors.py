"""Predictors on Gaussian data: the output distribution is computed exactly, then compared.

With a Gaussian prior the score is affine, so a predictor maps a Gaussian to a Gaussian whose mean
and covariance follow from its own update. They are read off by stepping basis vectors with and
without noise; nothing is sampled, so nothing can fail by chance.
"""

from itertools import pairwise

import pytest
import torch
from support import FixedNoise, SharedNoise
from torch import Tensor

from medscore.analytic import GaussianPrior
from medscore.samplers.base import Sampler
from medscore.samplers.reverse_diffusion import ReverseDiffusion
from medscore.sde import SDE, VE, VP, SubVP

D = 3
PREDICTORS: dict[str, tuple[Sampler, float]] = {"reverse diffusion": (ReverseDiffusion(), 1.0)}
"""Each predictor with its weak order."""

SDES: list[SDE] = [VE(0.05, 10.0), VP(), SubVP()]
all_predictors = pytest.mark.parametrize("name", PREDICTORS)
all_sdes = pytest.mark.parametrize("sde", SDES, ids=repr)


def gaussian(sde: SDE) -> GaussianPrior:
    root = torch.tensor([[0.9, 0.2, 0.0], [0.0, 0.7, -0.4], [0.3, 0.0, 0.5]], dtype=torch.float64)
    mean = torch.tensor([0.3, -0.6, 0.5], dtype=torch.float64)
    return GaussianPrior(sde, mean, root @ root.T)


def final_moments(sampler: Sampler, prior: GaussianPrior, steps: int) -> tuple[Tensor, Tensor]:
    """Mean and covariance at eps, started from the exact p_1."""
    mean, covariance = prior.marginal(1.0)
    grid = torch.linspace(1.0, prior.sde.eps, steps + 1, dtype=torch.float64)
    zero, eye = torch.zeros(D + 1, D).double(), torch.eye(D).double()
    points = torch.cat([torch.zeros(1, D).double(), eye])
    for t, s in pairwise(grid):
        times = (t.expand(D + 1), s.expand(D + 1))
        still, _ = sampler.step(prior, points, *times, FixedNoise(zero), {})
        kicked, _ = sampler.step(prior, torch.zeros_like(points), *times, FixedNoise(points), {})
        offset, noise_offset = still[0], kicked[0]
        linear, loading = (still[1:] - offset).T, (kicked[1:] - noise_offset).T
        mean = linear @ mean + offset
        covariance = linear @ covariance @ linear.T + loading @ loading.T
    return mean, covariance


def error(name: str, sde: SDE, steps: int) -> float:
    """Distance of mean and covariance from p_eps."""
    prior = gaussian(sde)
    mean, covariance = final_moments(PREDICTORS[name][0], prior, steps)
    exact_mean, exact_covariance = prior.marginal(sde.eps)
    return float((mean - exact_mean).norm() + (covariance - exact_covariance).norm())


@all_predictors
@all_sdes
def test_the_error_shrinks_at_the_methods_order(name: str, sde: SDE) -> None:
    coarse, fine = error(name, sde, 400), error(name, sde, 800)
    assert coarse / fine == pytest.approx(2 ** PREDICTORS[name][1], rel=0.15)


@all_sdes
def test_one_step_of_reverse_diffusion_is_that_of_algorithms_b4_and_b5(sde: SDE) -> None:
    """Lines 3 to 5: for VE x + (s_t^2 - s_s^2) S + sqrt(s_t^2 - s_s^2) z; for VP and sub-VP
    (2 - sqrt(1 - b)) x + ... with the coefficients of the kernel from s to t.
    """
    prior, t, s = gaussian(sde), torch.tensor([0.7]).double(), torch.tensor([0.6]).double()
    x = torch.tensor([[0.4, -1.0, 2.0]]).double()
    z = torch.tensor([[1.0, 0.5, -2.0]]).double()
    score = prior.score(x, t)
    a = sde.alpha(t) / sde.alpha(s)
    variance = sde.sigma(t) ** 2 - a**2 * sde.sigma(s) ** 2
    expected = (2 - a) * x + variance * score + torch.sqrt(variance) * z
    found, _ = ReverseDiffusion().step(prior, x, t, s, FixedNoise(z), {})
    torch.testing.assert_close(found, expected)


@all_predictors
@all_sdes
def test_a_thousand_steps_reproduce_the_data(name: str, sde: SDE) -> None:
    assert error(name, sde, 1000) < 0.05


@all_predictors
def test_drawn_samples_have_the_propagated_moments(name: str) -> None:
    """The engine's own noise against the exact propagation: 20,000 samples, 50 steps.

    6 standard errors on 3 means and 6 covariances: false-alarm rate below 1e-7.
    """
    sampler, sde, n, steps = PREDICTORS[name][0], VP(), 20_000, 50
    prior = gaussian(sde)
    mean, covariance = final_moments(sampler, prior, steps)
    start_mean, start_covariance = prior.marginal(1.0)
    noise = SharedNoise(0)
    x = start_mean + noise(torch.zeros(n, D).double()) @ torch.linalg.cholesky(start_covariance).T
    grid = torch.linspace(1.0, sde.eps, steps + 1, dtype=torch.float64)
    for t, s in pairwise(grid):
        x, _ = sampler.step(prior, x, t.expand(n), s.expand(n), noise, {})
    standard = torch.sqrt(covariance.diagonal())
    assert bool(((x.mean(0) - mean).abs() < 6 * standard / n**0.5).all())
    spread = torch.sqrt((standard[:, None] * standard) ** 2 + covariance**2) / n**0.5
    assert bool(((torch.cov(x.T) - covariance).abs() < 6 * spread).all())

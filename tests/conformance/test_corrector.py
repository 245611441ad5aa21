"""The Langevin corrector and predictor-corrector sampling on Gaussian data."""

import math

import pytest
import torch
from exact import walk
from support import FixedNoise, SharedNoise

from medscore.priors.analytic import GaussianPrior
from medscore.samplers.grids import uniform
from medscore.samplers.langevin import LangevinCorrector, batch_ratio
from medscore.samplers.predictor_corrector import PredictorCorrector
from medscore.samplers.reverse_diffusion import ReverseDiffusion
from medscore.sdes.base import SDE
from medscore.sdes.ddpm import DDPM
from medscore.sdes.linear import VE, VP, SubVP

D, N = 64, 2000
SDES: list[SDE] = [VE(0.05, 10.0), VP(), SubVP()]
all_sdes = pytest.mark.parametrize("sde", SDES, ids=repr)


def white(sde: SDE, std: float = 0.5) -> GaussianPrior:
    return GaussianPrior(sde, torch.full((D,), 0.2), std**2 * torch.eye(D))


@all_sdes
def test_the_step_size_is_that_of_algorithms_b6_and_b7(sde: SDE) -> None:
    """x' - x = eps G + sqrt(2 eps) z with eps = 2 alpha_i (r sqrt(d) / |G|)^2, each sample alone.

    alpha_i is 1 on VE, and 1 - beta_i for beta_i = beta(t) / N, up to beta_i^2, on the others.
    """
    prior, r, noise = white(sde), 0.3, SharedNoise(0)
    x, t = SharedNoise(1)(torch.zeros(5, D)), torch.full((5,), 0.4)
    z = SharedNoise(0)(x)
    found, _ = LangevinCorrector(r, scales=100).step(prior, x, t, t, noise, {})
    g = prior.score(x, t)
    alpha = 1.0 if isinstance(sde, VE) else math.exp(-(0.1 + 0.4 * 19.9) / 100)
    eps = 2 * alpha * (r * math.sqrt(D) / g.norm(dim=1, keepdim=True)) ** 2
    torch.testing.assert_close(found, x + eps * g + torch.sqrt(2 * eps) * z)


def test_on_ddpms_own_scales_alpha_i_is_one_minus_beta_i() -> None:
    """Alg. B.7 on the chain of 50 scales: beta_i from below Eq. B.20."""
    scales, r = 50, 0.3
    sde = DDPM(scales)
    prior = GaussianPrior(sde, torch.zeros(4).double(), 0.3 * torch.eye(4).double())
    x, z = torch.ones(1, 4).double(), torch.full((1, 4), 0.5).double()
    for i in (1, 20, 50):
        t = torch.tensor([i / scales], dtype=torch.float64)
        found, _ = LangevinCorrector(r, scales).step(prior, x, t, t, FixedNoise(z), {})
        beta = 0.1 / scales + (i - 1) / (scales * (scales - 1)) * 19.9
        g = prior.score(x, t)
        eps = 2 * (1 - beta) * (r * 2 / g.norm()) ** 2
        torch.testing.assert_close(found, x + eps * g + torch.sqrt(2 * eps) * z)


def test_the_texts_norms_are_averages_over_the_batch() -> None:
    """In B.5.7, averages over the mini-batch replace the norms of z and of G."""
    prior, t = white(VE()), torch.full((5,), 0.4)
    x, z = SharedNoise(1)(torch.zeros(5, D)), SharedNoise(0)(torch.zeros(5, D))
    g = prior.score(x, t)
    found, _ = LangevinCorrector(0.3, ratio=batch_ratio).step(prior, x, t, t, SharedNoise(0), {})
    eps = 2 * (0.3 * z.norm(dim=1).mean() / g.norm(dim=1).mean()) ** 2
    torch.testing.assert_close(found, x + eps * g + torch.sqrt(2 * eps) * z)


@pytest.mark.statistical
@all_sdes
def test_correcting_a_marginal_keeps_it(sde: SDE) -> None:
    """20 small steps from the exact p_t of white data.

    Langevin's own bias in variance is eps/2 times the precision, r^2 = 0.25 %. With 128,000
    numbers the standard error of the variance is 0.4 %; the bound of 3 % is 6 of them and the
    bias: false-alarm rate below 1e-8.
    """
    prior, t = white(sde), torch.full((N,), 0.5)
    mean, covariance = prior.marginal(0.5)
    noise = SharedNoise(2)
    x = mean + torch.sqrt(covariance[0, 0]) * noise(torch.zeros(N, D))
    for _ in range(20):
        x, _ = LangevinCorrector(0.05).step(prior, x, t, t, noise, {})
    assert float((x - mean).var() / covariance[0, 0]) == pytest.approx(1.0, abs=0.03)


@pytest.mark.statistical
@all_sdes
def test_correcting_a_wrong_start_approaches_the_marginal(sde: SDE) -> None:
    """Started with 4 times the variance, 150 steps bring it within 10 %.

    What is left of the start is below 0.1 %, the bias r^2 = 2.6 %, the standard error 0.4 %:
    false-alarm rate below 1e-8.
    """

    prior, t = white(sde), torch.full((N,), 0.5)
    mean, covariance = prior.marginal(0.5)
    noise = SharedNoise(3)
    x = mean + 2 * torch.sqrt(covariance[0, 0]) * noise(torch.zeros(N, D))
    for _ in range(150):
        x, _ = LangevinCorrector(0.16).step(prior, x, t, t, noise, {})
    assert float((x - mean).var() / covariance[0, 0]) == pytest.approx(1.0, abs=0.1)


@pytest.mark.statistical
@pytest.mark.slow
@all_sdes
def test_predictor_corrector_reproduces_the_data(sde: SDE) -> None:
    """200 scales from the exact p_1 give mean and std of p_eps within 3 % of the latter.

    The standard error of either is below 0.5 %: false-alarm rate below 1e-6.
    """
    prior = white(sde)
    sampler = PredictorCorrector(ReverseDiffusion(), LangevinCorrector(0.05))
    mean, covariance = prior.marginal(1.0)
    noise = SharedNoise(4)
    x = mean + torch.sqrt(covariance[0, 0]) * noise(torch.zeros(N, D))
    x = walk(sampler, prior, x, uniform(sde, 200), noise)
    mean, covariance = prior.marginal(sde.eps)
    std = math.sqrt(float(covariance[0, 0]))
    assert abs(float((x - mean).mean())) < 0.03 * std
    assert float(x.std()) / std == pytest.approx(1.0, abs=0.03)


def test_each_scale_costs_one_prediction_and_the_stated_corrections() -> None:
    from medscore.priors.counted import Counted

    prior = Counted(white(VE()))
    sampler = PredictorCorrector(ReverseDiffusion(), LangevinCorrector(), corrections=3)
    x, t, s = torch.zeros(2, D), torch.full((2,), 0.9), torch.full((2,), 0.8)
    sampler.step(prior, x, t, s, SharedNoise(0), sampler.init(x))
    assert prior.nfe == 4

r"""Denoising objectives have the gradient of the corresponding weighted Fisher divergence.

The model is the exact score of a mixture plus :math:`h\,\alpha/\sigma^2 (B \hat x + b)`, with
:math:`\hat x` the state at unit scale and h = s / sqrt(1 + s^2), s = sigma/alpha: its Fisher
divergence depends only on the second moments of p_t. The reference is thus an integral over t of
closed-form schedules and weightings, which are written out here again, without random draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from scipy.stats import truncnorm
from torch import Tensor

from medscore.objectives import denoising
from medscore.objectives.denoising import Denoising
from medscore.priors.analytic import GaussianPrior, GMMPrior
from medscore.priors.base import Prior
from medscore.sdes.base import SDE, expand
from medscore.sdes.ddpm import DDPM
from medscore.sdes.linear import VE, VP, SubVP

BLOCKS, SIZE, STD = 200, 300, 0.25
LOW, HIGH = 0.01, 50.0
THETA = 4 * torch.tensor([1.6, -0.7, 0.9, -1.4, 0.8, 1.1], dtype=torch.float64)
"""The rows of B, then b."""
GRID = (torch.arange(400_000, dtype=torch.float64) + 0.5) / 400_000


@dataclass(frozen=True)
class Plain:
    """A schedule as formulas."""

    sde: SDE
    alpha: Callable[[Tensor], Tensor]
    sigma: Callable[[Tensor], Tensor]
    g2: Callable[[Tensor], Tensor]
    alpha_of_ratio: Callable[[Tensor], Tensor]

    def times(self) -> Tensor:
        """The midpoints of 400,000 equal subintervals of [eps, 1]."""
        return self.sde.eps + (1 - self.sde.eps) * GRID


def kept(t: Tensor) -> Tensor:
    """exp(-integral of beta)."""
    return torch.exp(-(0.1 * t + 19.9 * t**2 / 2))


def beta(t: Tensor) -> Tensor:
    return 0.1 + 19.9 * t


def ve_sigma(t: Tensor) -> Tensor:
    return LOW * (HIGH / LOW) ** t


SCHEDULES = {
    "VE": Plain(
        VE(LOW, HIGH),
        torch.ones_like,
        ve_sigma,
        lambda t: 2 * math.log(HIGH / LOW) * ve_sigma(t) ** 2,
        torch.ones_like,
    ),
    "VP": Plain(
        VP(),
        lambda t: kept(t).sqrt(),
        lambda t: (1 - kept(t)).sqrt(),
        beta,
        lambda r: (1 + r**2) ** -0.5,
    ),
    "sub-VP": Plain(
        SubVP(),
        lambda t: kept(t).sqrt(),
        lambda t: 1 - kept(t),
        lambda t: beta(t) * (1 - kept(t) ** 2),
        lambda r: torch.sqrt(r**2 / 4 + 1) - r / 2,
    ),
}

Marginals = tuple[Tensor, Tensor, Tensor]
"""alpha, sigma and lambda at many equally probable times."""


def by_score(k: Plain) -> Marginals:
    t = k.times()
    return k.alpha(t), k.sigma(t), k.sigma(t) ** 2


def by_likelihood(k: Plain) -> Marginals:
    t = k.times()
    return k.alpha(t), k.sigma(t), k.g2(t)


def by_edm(k: Plain) -> Marginals:
    """lambda alpha^2 / sigma^4 = (s^2 + d^2) / (s d)^2."""
    mean, std = -1.2, 1.3
    ends = torch.tensor([k.sde.eps, 1.0], dtype=torch.float64)
    low, high = ((torch.log(k.sigma(ends) / k.alpha(ends)) - mean) / std).tolist()
    s = torch.exp(torch.from_numpy(truncnorm.ppf(GRID.numpy(), low, high, mean, std)))
    alpha = k.alpha_of_ratio(s)
    weight = (s**2 + STD**2) / (s * STD) ** 2
    return alpha, s * alpha, weight * (s * alpha) ** 4 / alpha**2


OBJECTIVES: dict[str, tuple[Denoising, Callable[[Plain], Marginals]]] = {
    "score matching": (denoising.denoising_score_matching(), by_score),
    "likelihood": (denoising.likelihood(), by_likelihood),
    "likelihood, importance": (denoising.likelihood_importance(), by_likelihood),
    "EDM": (denoising.edm(STD, -1.2, 1.3), by_edm),
}


class Perturbed(Prior):
    """The exact score plus a perturbation, with parameters (batch, 6) of each sample."""

    def __init__(self, inner: Prior, theta: Tensor) -> None:
        self.inner, self.sde, self.theta = inner, inner.sde, theta

    def denoise(self, x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        s, unit = sigma / alpha, x / torch.sqrt(alpha**2 + sigma**2)
        matrix, shift = self.theta[:, :4].reshape(-1, 2, 2), self.theta[:, 4:]
        change = torch.einsum("bij,bj->bi", matrix, unit) + shift
        return self.inner.denoise(x, t) + s / torch.sqrt(1 + s**2) * change


def gaussian(sde: SDE) -> GMMPrior:
    covariance = STD**2 * torch.tensor([[1.0, 0.6], [0.6, 0.8]], dtype=torch.float64)
    return GaussianPrior(sde, torch.tensor([0.3, 0.5], dtype=torch.float64), covariance)


def mixture(sde: SDE) -> GMMPrior:
    means = torch.tensor([[-0.2, 0.5], [0.4, 0.1]], dtype=torch.float64)
    covariances = torch.tensor([[[0.02, 0.01], [0.01, 0.03]], [[0.05, 0.0], [0.0, 0.004]]])
    weights = torch.tensor([0.3, 0.7], dtype=torch.float64)
    return GMMPrior(sde, weights, means, covariances.double())


PRIORS = {"Gaussian": gaussian, "mixture": mixture}


def gradients(objective: Denoising, prior: GMMPrior, seed: int = 0) -> Tensor:
    """Mean gradients of the loss over 200 blocks of 300 samples, (200, 6).

    Within a block u is stratified, since the weights vary strongly at a few small times.
    """
    generator = torch.Generator().manual_seed(seed)
    n = BLOCKS * SIZE
    x0 = data(prior).sample(n, 0.0, generator)
    part = torch.rand(BLOCKS, SIZE, generator=generator, dtype=torch.float64)
    u = (torch.arange(SIZE) + part) / SIZE
    z = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    theta = THETA.expand(n, 6).clone().requires_grad_()
    objective(Perturbed(prior, theta), x0, u.flatten(), z).sum().backward()
    assert theta.grad is not None
    return theta.grad.reshape(BLOCKS, SIZE, 6).mean(1)


def data(prior: GMMPrior) -> GMMPrior:
    """The prior on a VP SDE without noise at time 0."""
    return GMMPrior(VP(eps=0.0), prior.weights, prior.means, prior.covariances)


def fisher_gradient(prior: GMMPrior, marginals: Marginals) -> Tensor:
    """It is 2/D times that of the mean over times of lambda / 2 E |s_theta - grad log p_t|^2."""
    alpha, sigma, lam = marginals
    mean, covariance = data(prior).marginal(0.0)
    second = covariance + torch.outer(mean, mean)
    s2 = (sigma / alpha) ** 2
    weight = lam * (alpha / sigma**2) ** 2 * s2 / (1 + s2)
    size = alpha**2 + sigma**2
    square = (weight * alpha**2 / size).mean() * second
    square = square + (weight * sigma**2 / size).mean() * torch.eye(2, dtype=torch.float64)
    first, zeroth = (weight * alpha / size.sqrt()).mean() * mean, weight.mean()
    matrix, shift = THETA[:4].reshape(2, 2), THETA[4:]
    by_matrix = matrix @ square + torch.outer(shift, first)
    by_shift = matrix @ first + shift * zeroth
    return 2 / 2 * torch.cat([by_matrix.flatten(), by_shift])


@pytest.mark.parametrize("kind", PRIORS)
@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("label", SCHEDULES)
def test_the_gradient_is_that_of_the_weighted_fisher_divergence(
    label: str, name: str, kind: str, proven: Callable[..., None]
) -> None:
    """Within 6 standard errors; an error of 10 % in the weighting would be detected."""
    schedule = SCHEDULES[label]
    objective, marginals = OBJECTIVES[name]
    prior = PRIORS[kind](schedule.sde)
    found = gradients(objective, prior)
    proven(found, fisher_gradient(prior, marginals(schedule)).expand_as(found))


@pytest.mark.parametrize("label", ["VP", "sub-VP"])
def test_the_weightings_have_different_gradients(label: str, agree: Callable[..., bool]) -> None:
    """For VE g^2 is proportional to sigma^2, for other SDEs it is not."""
    schedule = SCHEDULES[label]
    prior = mixture(schedule.sde)
    found = gradients(denoising.denoising_score_matching(), prior)
    wrong = fisher_gradient(prior, by_likelihood(schedule))
    right = fisher_gradient(prior, by_score(schedule))
    scaled = wrong * (right @ wrong) / (wrong @ wrong)
    assert not agree(found, scaled.expand_as(found))


def discrete(alpha: Tensor, sigma: Tensor) -> Marginals:
    return alpha, sigma, sigma**2


def test_smlds_gradient_is_the_mean_over_its_scales(proven: Callable[..., None]) -> None:
    scales = 10
    sigma = LOW * (HIGH / LOW) ** (torch.arange(scales, dtype=torch.float64) / (scales - 1))
    prior = mixture(VE(LOW, HIGH, eps=0.0))
    found = gradients(denoising.smld(scales), prior)
    expected = fisher_gradient(prior, discrete(torch.ones_like(sigma), sigma))
    proven(found, expected.expand_as(found))


def test_ddpms_gradient_is_the_mean_over_its_scales(proven: Callable[..., None]) -> None:
    scales = 10
    betas = torch.linspace(0.1, 8.0, scales, dtype=torch.float64) / scales
    square = torch.cumprod(1 - betas, 0)
    prior = mixture(DDPM(scales, 0.1, 8.0))
    found = gradients(denoising.ddpm(scales), prior)
    expected = fisher_gradient(prior, discrete(square.sqrt(), (1 - square).sqrt()))
    proven(found, expected.expand_as(found))


class White(Prior):
    """The prior of N(0, STD^2 I) data with 1.05 times the exact score."""

    def __init__(self, sde: SDE) -> None:
        self.sde = sde

    def denoise(self, x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        return (1 - 1.05 * sigma**2 / (alpha**2 * STD**2 + sigma**2)) * x / alpha


def losses_on_white_data(label: str, objective: Denoising, seed: int) -> Tensor:
    """The losses of 200,000 samples in 16 dimensions."""
    generator = torch.Generator().manual_seed(seed)
    x0, z = torch.randn(2, 200_000, 16, generator=generator, dtype=torch.float64)
    u = torch.rand(len(z), generator=generator, dtype=torch.float64)
    return objective(White(SCHEDULES[label].sde), STD * x0, u, z)


@pytest.mark.parametrize(("label", "least"), [("VP", 17.0), ("sub-VP", 24.0)])
def test_importance_sampling_keeps_the_mean_and_divides_the_variance(
    label: str, least: float
) -> None:
    """The mean is an integral over t, for both proposals within 6 standard errors.

    The integrand is g^2 (1/sigma^2 - (2 c - c^2) / v) per dimension, with v the variance of x_t and
    c = 1.05.
    """
    schedule = SCHEDULES[label]
    t = schedule.times()
    variance = schedule.alpha(t) ** 2 * STD**2 + schedule.sigma(t) ** 2
    per_number = 1 / schedule.sigma(t) ** 2 - (2 * 1.05 - 1.05**2) / variance
    expected = float((schedule.g2(t) * per_number).mean())
    uniform = losses_on_white_data(label, denoising.likelihood(), 0)
    proposed = losses_on_white_data(label, denoising.likelihood_importance(), 1)
    for losses in (uniform, proposed):
        error = float(losses.std()) / len(losses) ** 0.5
        assert abs(float(losses.mean()) - expected) < 6 * error
    assert float(uniform.var() / proposed.var()) > least


def test_on_ve_importance_sampling_changes_nothing() -> None:
    """For VE the likelihood weighting is proportional to chapter 7's (section 9.4.1)."""
    uniform = losses_on_white_data("VE", denoising.likelihood(), 0)
    proposed = losses_on_white_data("VE", denoising.likelihood_importance(), 0)
    torch.testing.assert_close(uniform, proposed, rtol=1e-6, atol=0)

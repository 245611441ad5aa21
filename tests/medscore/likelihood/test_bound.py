"""The bounds compared with the densities they bound, and with each other.

Every comparison allows 5 standard errors of 400 draws or more: one fails by chance less than once
in 500,000 times.
"""

import math
from collections.abc import Callable

import pytest
import torch
from densities import NAMES, SDES, D, gauss, mixture, points, times
from torch import Tensor

from medscore.likelihood.bound import Bound, correction, denoising_bound, matching_bound
from medscore.likelihood.divergence import exact
from medscore.likelihood.flow import log_likelihood
from medscore.objectives.denoising import (
    denoising_score_matching,
    likelihood,
    likelihood_importance,
)
from medscore.priors.analytic import GaussianPrior, GMMPrior
from medscore.priors.base import Prior
from medscore.sdes.base import SDE
from medscore.sdes.linear import VE, VP, SubVP
from medscore.types import State, Times

DRAWS = 400


def seeds(x: Tensor) -> range:
    return range(100, 100 + len(x))


def noisy_entropy(prior: GMMPrior, x: Tensor, count: int = 2000) -> Tensor:
    """E[-log p_eps(x_eps)] of each clean point."""
    sde = prior.sde
    z = torch.randn(count, *x.shape, generator=torch.Generator().manual_seed(3)).to(x)
    found = []
    for point, noise in zip(x, z.unbind(1), strict=True):
        t = times(count, sde.eps)
        found.append(-prior.log_density(sde.marginal(point.expand(count, -1), t, noise), t).mean())
    return torch.stack(found)


@pytest.mark.slow
@pytest.mark.parametrize("sde", SDES, ids=NAMES)
@pytest.mark.parametrize("bound", [denoising_bound, matching_bound], ids=["dsm", "sm"])
def test_it_bounds_the_likelihood_at_eps(bound: Callable[..., Bound], sde: SDE) -> None:
    """With the exact score, at every point (Theorem B.1)."""
    prior = mixture(sde)
    x = points(prior, 6, 0.0)
    found = bound(prior, x, seeds(x), DRAWS)
    assert bool((found.nats + 5 * found.standard_error > noisy_entropy(prior, x) - 0.02).all())


@pytest.mark.parametrize("sde", SDES, ids=NAMES)
def test_corrected_it_bounds_the_likelihood_of_the_clean_image(sde: SDE) -> None:
    """Eq. B.41, for the density of the clean data."""
    prior = mixture(sde)
    clean = GMMPrior(SDES[1], prior.weights, prior.means, prior.covariances)
    x = points(clean, 6, 0.0)
    found = denoising_bound(prior, x, seeds(x), DRAWS) + correction(prior, x, seeds(x), DRAWS)
    assert bool(
        (found.nats + 5 * found.standard_error > -clean.log_density(x, times(6, 0.0))).all()
    )


@pytest.mark.slow
@pytest.mark.parametrize("sde", SDES, ids=NAMES)
def test_on_average_over_the_data_the_bound_is_tight(sde: SDE) -> None:
    """With the exact score both sides are the entropy of p_eps (Theorem 9.2)."""
    prior = gauss(sde)
    clean = GMMPrior(SDES[1], prior.weights, prior.means, prior.covariances)
    x = points(clean, 2000, 0.0)
    found = denoising_bound(prior, x, range(len(x)), 20).nats
    _, covariance = prior.marginal(sde.eps)
    entropy = 0.5 * torch.logdet(2 * torch.pi * torch.e * covariance)
    error = float(found.std()) / len(x) ** 0.5
    assert abs(float(found.mean() - entropy)) < 5 * error + 1e-3 * D
    assert error < 0.2


@pytest.mark.slow
@pytest.mark.parametrize("sde", SDES, ids=NAMES)
@pytest.mark.parametrize("objective", [likelihood, likelihood_importance])
def test_both_bounds_are_the_same_number(objective: Callable[[], object], sde: SDE) -> None:
    """Eq. 9.11, with uniform and importance-sampled times."""
    prior = mixture(sde)
    x = points(prior, 4, 0.0)
    first = denoising_bound(prior, x, seeds(x), DRAWS, objective=objective())
    second = matching_bound(prior, x, seeds(x), DRAWS, objective=objective())
    error = (first.standard_error**2 + second.standard_error**2).sqrt()
    assert bool(((first.nats - second.nats).abs() < 5 * error).all())


@pytest.mark.slow
def test_probes_leave_the_bound_as_it_is() -> None:
    prior = mixture(SDES[1])
    x = points(prior, 4, 0.0)
    known = matching_bound(prior, x, seeds(x), DRAWS)
    found = matching_bound(prior, x, seeds(x), DRAWS, probes=1)
    error = (found.estimates - known.estimates).std(1) / DRAWS**0.5
    assert bool(((found.nats - known.nats).abs() < 5 * error).all())


@pytest.mark.parametrize("sde", SDES[1:], ids=NAMES[1:])
def test_importance_sampled_times_scatter_less(sde: SDE) -> None:
    prior = mixture(sde)
    x = points(prior, 4, 0.0)
    plain = denoising_bound(prior, x, seeds(x), DRAWS, objective=likelihood())
    found = denoising_bound(prior, x, seeds(x), DRAWS)
    assert float(found.estimates.var(1).mean()) < 0.5 * float(plain.estimates.var(1).mean())
    error = (found.standard_error**2 + plain.standard_error**2).sqrt()
    assert bool(((found.nats - plain.nats).abs() < 5 * error).all())


@pytest.mark.parametrize(
    "sde", [VE(0.05, 50.0), VP(eps=0.05), SubVP(eps=0.2)], ids=["VE", "VP", "SubVP"]
)
def test_the_correction_in_closed_form(sde: SDE) -> None:
    """For N(0, s^2 I) and the exact denoiser, whose error has the variance of x given x_eps."""
    s, n = 0.3, 4000
    prior = GaussianPrior(sde, torch.zeros(D), s**2 * torch.eye(D))
    x = s * torch.randn(n, D, generator=torch.Generator().manual_seed(2))
    found = correction(prior, x, range(n), 4).nats
    eps = torch.tensor(sde.eps)
    a, b = float(sde.alpha(eps)), float(sde.sigma(eps))
    expected = D * (0.5 * a**2 * s**2 / (a**2 * s**2 + b**2) - math.log(a) - 0.5)
    error = float(found.std()) / n**0.5
    assert error < 0.04
    assert abs(float(found.mean()) - expected) < 5 * error


@pytest.mark.parametrize("bound", [denoising_bound, matching_bound], ids=["dsm", "sm"])
def test_what_is_no_bound_is_refused(bound: Callable[..., Bound]) -> None:
    x = torch.zeros(1, D, dtype=torch.float64)
    for sde in SDES[1:]:
        with pytest.raises(ValueError, match="likelihood weighting"):
            bound(gauss(sde), x, [0], 1, objective=denoising_score_matching())
    with pytest.raises(ValueError, match="needs noise at eps"):
        bound(gauss(VP(eps=0.0)), x, [0], 1)


class Wrong(Prior):
    """A prior whose denoiser has an error proportional to the image."""

    def __init__(self, prior: GMMPrior, share: float) -> None:
        self.sde, self.right, self.share = prior.sde, prior, share

    def denoise(self, x: State, t: Times) -> State:
        return self.right.denoise(x, t) + self.share * self.sde.ratio(t)[:, None] ** 2 * x


@pytest.mark.parametrize("sde", SDES[1:], ids=NAMES[1:])
def test_a_worse_score_has_a_worse_bound(sde: SDE) -> None:
    prior = gauss(sde)
    x = points(prior, 50, 0.0)
    found = [
        denoising_bound(Wrong(prior, share), x, range(50), 50).nats.mean()
        for share in (0.0, 0.1, 0.3)
    ]
    assert float(found[0]) < float(found[1]) < float(found[2])


@pytest.mark.parametrize("sde", SDES, ids=NAMES)
def test_on_average_it_bounds_the_flow_s_likelihood_too(sde: SDE) -> None:
    prior = mixture(sde)
    x = points(prior, 64, sde.eps)
    flow = log_likelihood(prior, x, exact).nats
    found = denoising_bound(prior, x, range(64), 50)
    gap = found.nats + flow
    assert float(gap.mean()) > -5 * float(gap.std()) / 8


def test_draws_are_the_sample_s_own() -> None:
    prior = GaussianPrior(SDES[1], torch.zeros(2), torch.eye(2))
    x = torch.tensor([[0.1, 0.2], [0.3, -0.4]])
    both = denoising_bound(prior, x, [4, 5], 3).estimates
    assert torch.allclose(both[1:], denoising_bound(prior, x[1:], [5], 3).estimates)
    assert bool((correction(prior, x, [4, 5], 3).estimates[0] != both[0]).all())

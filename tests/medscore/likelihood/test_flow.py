"""The log-likelihood by the probability flow, compared with densities in closed form."""

import math
from collections.abc import Callable

import pytest
import torch
from densities import NAMES, SDES, D, gauss, mixture, points, times
from torch import Tensor

from medscore.likelihood.divergence import Divergence, exact, gaussian, rademacher
from medscore.likelihood.flow import FlowLikelihood, log_likelihood
from medscore.priors.analytic import GaussianPrior, GMMPrior
from medscore.priors.base import Prior
from medscore.samplers.ode import solve
from medscore.sdes.base import SDE
from medscore.sdes.linear import VE
from medscore.types import State, Times

PRIORS: dict[str, Callable[[SDE], GMMPrior]] = {"gaussian": gauss, "mixture": mixture}
TRACES: dict[str, Callable[..., Divergence]] = {"rademacher": rademacher, "gaussian": gaussian}


def from_p1(prior: GMMPrior, found: FlowLikelihood) -> Tensor:
    """log p with the exact p_1 in place of pi, which leaves only the error of the solver."""
    latent = found.latent
    end = prior.log_density(latent, times(len(latent), 1.0))
    return found.nats - prior.sde.prior_logp(latent) + end


@pytest.mark.parametrize("sde", SDES, ids=NAMES)
@pytest.mark.parametrize("make", PRIORS.values(), ids=PRIORS)
def test_it_is_the_density_in_closed_form(make: Callable[[SDE], GMMPrior], sde: SDE) -> None:
    """Within 1e-3 nats per dimension at the default tolerances."""
    prior = make(sde)
    x = points(prior, 16, sde.eps)
    found = from_p1(prior, log_likelihood(prior, x, exact))
    expected = prior.log_density(x, times(len(x), sde.eps))
    assert float((found - expected).abs().max()) / D < 1e-3


@pytest.mark.parametrize("sde", SDES, ids=NAMES)
def test_pi_stands_for_p_1_of_centred_data(sde: SDE) -> None:
    """Within 1e-3 nats per dimension, including the error of pi."""
    known = gauss(sde)
    prior = GaussianPrior(sde, torch.zeros_like(known.means[0]), known.covariances[0])
    x = points(prior, 16, sde.eps)
    found = log_likelihood(prior, x, exact).nats
    expected = prior.log_density(x, times(len(x), sde.eps))
    assert float((found - expected).abs().max()) / D < 1e-3


def test_what_pi_costs_falls_with_the_noise_at_the_end_of_time() -> None:
    """The error is proportional to the mean of the data over sigma_max."""
    errors = []
    for sigma_max in (5.0, 50.0, 500.0):
        prior = gauss(VE(0.05, sigma_max))
        found = log_likelihood(prior, points(prior, 16, 0.0), exact)
        errors.append(float((found.nats - from_p1(prior, found)).abs().mean()))
    assert errors[0] > 5 * errors[1] > 25 * errors[2]


@pytest.mark.slow
@pytest.mark.parametrize("sde", SDES, ids=NAMES)
def test_it_tightens_with_the_tolerance(sde: SDE) -> None:
    prior = mixture(sde)
    x = points(prior, 16, sde.eps)
    best = log_likelihood(prior, x, exact, rtol=1e-10, atol=1e-10).nats
    errors, costs = [], []
    for tolerance in (1e-2, 1e-4, 1e-6):
        found = log_likelihood(prior, x, exact, rtol=tolerance, atol=tolerance)
        errors.append(float((found.nats - best).abs().max()))
        costs.append(found.nfe)
    assert errors[0] > 3 * errors[1] > 9 * errors[2]
    assert costs[0] < costs[1] < costs[2]
    assert errors[2] < 1e-4


@pytest.mark.parametrize("sde", SDES, ids=NAMES)
def test_a_later_start_is_the_density_of_that_time(sde: SDE) -> None:
    prior = mixture(sde)
    x = points(prior, 8, 0.3)
    found = log_likelihood(prior, x, exact, start=0.3)
    expected = prior.log_density(x, times(len(x), 0.3))
    assert float((from_p1(prior, found) - expected).abs().max()) / D < 1e-3


@pytest.mark.parametrize("sde", SDES, ids=NAMES)
def test_the_latent_code_decodes_to_the_image(sde: SDE) -> None:
    prior = mixture(sde)
    x = points(prior, 16, sde.eps)
    found = log_likelihood(prior, x, exact)
    back = solve(prior, found.latent, 1.0, sde.eps)
    assert float((back - x).abs().max()) < 1e-3


class Fields(Prior):
    """A prior of images (1, 2, 2), whose scores have the shape of images."""

    def __init__(self, prior: GMMPrior) -> None:
        self.sde, self.prior = prior.sde, prior

    def denoise(self, x: State, t: Times) -> State:
        return self.prior.denoise(x, t)

    def score(self, x: State, t: Times) -> State:
        return self.prior.score(x, t)


def test_images_are_points_like_any_other() -> None:
    sde = SDES[1]
    prior = Fields(GaussianPrior(sde, torch.zeros(4), torch.eye(4)))
    x = torch.randn(3, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    found = log_likelihood(prior, x, exact)
    flat = log_likelihood(prior.prior, x.flatten(1), exact)
    assert found.latent.shape == x.shape
    assert torch.allclose(found.nats, flat.nats, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("draw", TRACES.values(), ids=TRACES)
@pytest.mark.parametrize("sde", SDES, ids=NAMES)
def test_probes_are_unbiased_within_their_standard_error(
    sde: SDE, draw: Callable[..., Divergence]
) -> None:
    """Within 5 standard errors of 100 probes, at 4 points; fails by chance once in 10,000."""
    prior = mixture(sde)
    x = points(prior, 4, sde.eps)
    known = log_likelihood(prior, x, exact).nats
    found = log_likelihood(prior, x, draw(x, [10, 11, 12, 13], 100))
    assert bool(((found.nats - known).abs() < 5 * found.standard_error + 1e-4).all())
    if draw is rademacher:
        assert float(found.standard_error.max()) < 0.2


def test_probes_are_the_sample_s_own() -> None:
    x = torch.zeros(2, 3)
    both = rademacher(x, [4, 5], 3).probes
    assert torch.equal(both[:, 1:], rademacher(x[1:], [5], 3).probes)
    assert not torch.equal(both[0, 0], both[1, 0])
    assert bool((both.abs() == 1).all())


def test_one_probe_has_no_standard_error() -> None:
    sde = SDES[1]
    x = points(prior := gauss(sde), 2, sde.eps)
    found = log_likelihood(prior, x, rademacher(x, [0, 1], 1))
    assert math.isnan(float(found.standard_error[0]))


def test_the_divergence_of_a_known_field() -> None:
    x = torch.tensor([[1.0, 2.0], [-1.0, 0.5]], dtype=torch.float64)
    matrix = torch.tensor([[2.0, 1.0], [-3.0, 0.5]], dtype=torch.float64)
    values, trace = exact(lambda p: p @ matrix.T + p**3, x)
    assert torch.allclose(values, x @ matrix.T + x**3)
    assert torch.allclose(trace[:, 0], 2.5 + 3 * x.square().sum(1))
    probes = rademacher(x, [0, 1], 2)
    _, estimates = probes(lambda p: p @ matrix.T, x)
    expected = torch.einsum("mbi,ij,mbj->bm", probes.probes, matrix, probes.probes)
    assert torch.allclose(estimates, expected)


def test_a_field_without_slope_has_no_divergence() -> None:
    x = torch.ones(2, 3)
    for divergence in (exact, rademacher(x, [0, 1], 2)):
        _, trace = divergence(lambda p: torch.ones_like(p) + 0 * p, x)
        assert bool((trace == 0).all())

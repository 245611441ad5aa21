"""A prior on another SDE is the same prior."""

import pytest
import torch
from densities import two_modes
from exact import propagate

from medscore.priors.analytic import GaussianPrior
from medscore.priors.reparameterized import Reparameterized, edm
from medscore.samplers.ddim import DDIM
from medscore.samplers.grids import log_snr
from medscore.samplers.heun import Heun
from medscore.sdes.base import SDE
from medscore.sdes.linear import VE, VP, SubVP

WIDE: list[SDE] = [VE(1e-5, 200.0, eps=0.0), VP(0.1, 20.0, eps=1e-5), SubVP(0.1, 20.0, eps=1e-5)]
NARROW: list[SDE] = [VE(0.05, 10.0), VP(0.1, 8.0), SubVP(0.1, 8.0, eps=0.01)]


@pytest.mark.parametrize("theirs", WIDE, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("ours", NARROW, ids=lambda s: type(s).__name__)
def test_score_and_denoiser_are_those_of_a_prior_made_there(theirs: SDE, ours: SDE) -> None:
    seen, made = Reparameterized(two_modes(theirs), ours), two_modes(ours)
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = torch.linspace(ours.eps, 1, 6, dtype=torch.float64)
    torch.testing.assert_close(seen.denoise(x, t), made.denoise(x, t), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(seen.score(x, t), made.score(x, t), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sde", [VP(), SubVP(), VE(0.05, 10.0)], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("sampler", [Heun(), DDIM()], ids=["heun", "ddim"])
def test_ode_samplers_walk_the_same_way_in_edm_coordinates(sde: SDE, sampler: Heun | DDIM) -> None:
    """For u = x / alpha the covariances at equal noise are the same on all SDEs."""
    mean = torch.tensor([0.3, -0.2], dtype=torch.float64)
    covariance = torch.tensor([[0.5, 0.2], [0.2, 0.3]], dtype=torch.float64)
    prior = GaussianPrior(sde, mean, covariance)
    there = edm(prior)
    grid, grid_there = log_snr(sde, 12), log_snr(there.sde, 12)
    alpha = sde.alpha(torch.tensor([1.0, sde.eps], dtype=torch.float64))
    m, c = prior.marginal(1.0)
    a = propagate(sampler, prior, grid, m, c)
    b = propagate(sampler, there, grid_there, m / alpha[0], c / alpha[0] ** 2)
    torch.testing.assert_close(a[0] / alpha[1], b[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(a[1] / alpha[1] ** 2, b[1], rtol=1e-4, atol=1e-5)


def test_edm_coordinates_have_no_drift_and_the_priors_noise() -> None:
    seen, sde = edm(two_modes(VP())), VP()
    ends = torch.tensor([sde.eps, 1.0], dtype=torch.float64)
    expected = sde.sigma(ends) / sde.alpha(ends)
    torch.testing.assert_close(seen.sde.sigma(torch.tensor([0.0, 1.0]).double()), expected)
    assert bool((seen.sde.alpha(ends) == 1).all())


def test_noise_the_prior_has_not_seen_is_refused() -> None:
    with pytest.raises(ValueError, match="not within the prior's"):
        Reparameterized(two_modes(VE(0.01, 10.0)), VE(0.01, 20.0))
    with pytest.raises(ValueError, match="not within the prior's"):
        Reparameterized(two_modes(VE(0.01, 10.0)), VE(0.001, 10.0))

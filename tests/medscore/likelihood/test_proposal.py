"""Fitted importance sampling of times: the same expectation, less variance."""

import pytest
import torch
from densities import NAMES, SDES, mixture, points
from torch import Tensor

from medscore.likelihood.bound import denoising_bound
from medscore.likelihood.proposal import FLOOR, Proposal, fit_proposal
from medscore.priors.base import Prior
from medscore.sdes.base import SDE
from medscore.types import State, Times


class Uneven(Prior):
    """A prior whose error is a hundred times larger at medium noise than elsewhere."""

    def __init__(self, sde: SDE) -> None:
        self.sde, self.right = sde, mixture(sde)

    def denoise(self, x: State, t: Times) -> State:
        ratio = self.sde.ratio(t)[:, None]
        worse = 10.0 * ((ratio > 0.3) & (ratio < 1.0))
        return self.right.denoise(x, t) + ratio * worse


@pytest.mark.slow
@pytest.mark.parametrize("sde", SDES, ids=NAMES)
def test_the_bound_keeps_its_expectation_and_loses_variance(sde: SDE) -> None:
    """Means within 5 standard errors of 1000 draws, at most a tenth of the variance."""
    prior = Uneven(sde)
    x = points(mixture(SDES[1]), 3, 0.0)
    proposal = fit_proposal(prior, x, [7, 8, 9], draws=8)
    plain = denoising_bound(prior, x, [1, 2, 3], 1000)
    found = denoising_bound(prior, x, [4, 5, 6], 1000, objective=proposal.objective)
    error = (plain.standard_error**2 + found.standard_error**2).sqrt()
    assert bool(((plain.nats - found.nats).abs() < 5 * error).all())
    assert float(found.estimates.var(1).mean()) < 0.1 * float(plain.estimates.var(1).mean())


@pytest.mark.parametrize("sde", SDES, ids=NAMES)
def test_times_have_the_density_of_the_proposal(sde: SDE) -> None:
    heights = (0.5, 2.0, 1.0, 0.5)
    u = (torch.arange(40_000, dtype=torch.float64) + 0.5) / 40_000
    t = Proposal(heights).times(sde, u)
    low, high = torch.log(sde.ratio(torch.tensor([sde.eps, 1.0], dtype=torch.float64)))
    v = (torch.log(sde.ratio(t)) - low) / (high - low)
    shares = torch.histc(v, 4, 0.0, 1.0) / len(v)
    assert torch.allclose(shares, torch.tensor(heights, dtype=torch.float64) / 4, atol=1e-3)
    assert bool((t.diff() >= 0).all())


def test_no_time_is_left_out() -> None:
    def flat(prior: Prior) -> Tensor:
        return torch.tensor(fit_proposal(prior, points(mixture(SDES[1]), 2, 0.0), [0, 1]).heights)

    heights = flat(Uneven(SDES[1]))
    assert float(heights.min()) >= FLOOR
    assert float(heights.mean()) == pytest.approx(1, abs=1e-6)
    assert float(heights.max()) > 3

"""The adaptive solver: tolerance, both directions, separate samples, and refused conditioners."""

import pytest
import torch
from densities import two_modes
from support import SharedNoise, Square

from medscore.conditioners.proximal import Proximal
from medscore.engine.job import Batch, Job
from medscore.engine.loop import run
from medscore.errors import MedscoreError
from medscore.priors.analytic import GaussianPrior, GMMPrior
from medscore.priors.base import Prior
from medscore.priors.counted import Counted
from medscore.samplers.ode import AdaptiveFlow, solve
from medscore.sdes.base import SDE
from medscore.sdes.linear import VE, VP, SubVP
from medscore.types import State, Times

SDES: list[SDE] = [VE(0.05, 10.0), VP(), SubVP()]
all_sdes = pytest.mark.parametrize("sde", SDES, ids=lambda sde: type(sde).__name__)


def start(sde: SDE, n: int = 5) -> torch.Tensor:
    return sde.prior_std * SharedNoise(0)(torch.zeros(n, 2, dtype=torch.float64))


@all_sdes
def test_the_error_follows_the_tolerance(sde: SDE) -> None:
    prior, x = two_modes(sde), start(sde)
    exact = solve(prior, x, 1.0, sde.eps, rtol=1e-10, atol=1e-10)
    loose, tight = (
        float((solve(prior, x, 1.0, sde.eps, rtol=tol, atol=tol) - exact).abs().max())
        for tol in (1e-4, 1e-7)
    )
    assert tight < 1e-5
    assert loose < 1e-2
    assert tight < loose / 30


@all_sdes
def test_decoding_and_encoding_are_inverse(sde: SDE) -> None:
    prior, x = two_modes(sde), start(sde)
    data = solve(prior, x, 1.0, sde.eps, rtol=1e-8, atol=1e-8)
    back = solve(prior, data, sde.eps, 1.0, rtol=1e-8, atol=1e-8)
    assert float((back - x).abs().max()) < 1e-5 * max(1.0, sde.prior_std)


@all_sdes
def test_single_precision_is_enough_for_the_default_tolerances(sde: SDE) -> None:
    prior, x = two_modes(sde), start(sde)
    single = GMMPrior(sde, prior.weights.float(), prior.means.float(), prior.covariances.float())
    exact = solve(prior, x, 1.0, sde.eps, rtol=1e-9, atol=1e-9)
    assert float((solve(single, x.float(), 1.0, sde.eps) - exact).abs().max()) < 2e-3


def test_the_engine_gives_each_sample_the_same_bits_whatever_the_batch() -> None:
    sde = VP()
    prior = GaussianPrior(sde, torch.full((3,), 0.2), 0.3 * torch.eye(3))

    def job(batch: int) -> Job:
        return Job(
            seeds=range(6),
            shape=(3,),
            times=torch.tensor([1.0, sde.eps]),
            batches=lambda items: Batch(prior, AdaptiveFlow(1e-5, 1e-5)),
            batch_size=batch,
        )

    one, four = run(job(1)), run(job(4))
    assert torch.equal(one.x, four.x)
    assert one.nfe == four.nfe


def test_evaluations_are_counted_per_sample() -> None:
    """For two samples that are solved separately, the NFE is the mean and not the sum."""
    sde, x = VP(), start(VP(), 2)
    alone = []
    for i in (0, 1):
        counted = Counted(two_modes(sde))
        solve(counted, x[i : i + 1], 1.0, sde.eps)
        alone.append(counted.nfe)
    both = Counted(two_modes(sde), items=2)
    t, s = torch.ones(2, dtype=torch.float64), torch.full((2,), sde.eps, dtype=torch.float64)
    AdaptiveFlow().step(both, x, t, s, SharedNoise(0), {})
    assert both.nfe == -(-sum(alone) // 2)


def test_no_time_is_no_change() -> None:
    x = start(VP())
    assert torch.equal(solve(two_modes(VP()), x, 0.5, 0.5), x)


def test_methods_on_the_state_are_refused() -> None:
    conditioner = Proximal(Square(), torch.zeros(1, 9))
    with pytest.raises(MedscoreError, match="chooses its own steps"):
        conditioner.sampler(AdaptiveFlow())


class Wild(Prior):
    """A prior that returns NaN."""

    sde = VP()

    def denoise(self, x: State, t: Times) -> State:
        return x * torch.nan


def test_an_ode_that_cannot_be_solved_is_an_error() -> None:
    with pytest.raises(MedscoreError, match="was not solved"):
        solve(Wild(), torch.zeros(1, 2), 1.0, 0.001)

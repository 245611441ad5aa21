"""Every sampler on Gaussian data, exactly: its formula, its order, its stationary distribution.

Nothing here is random. The proofs are functions in ``tests/support/proofs.py``, which
``mutants.py`` runs on planted defects.
"""

from collections.abc import Callable

import proofs
import pytest
import torch
from exact import CASES, SDES, Moments, propagate
from support import SharedNoise

from medscore.priors.analytic import GaussianPrior
from medscore.priors.counted import Counted
from medscore.samplers.analytic_dpm import AnalyticDPM, MomentTable
from medscore.sdes.base import SDE
from medscore.sdes.linear import VP

all_sdes = pytest.mark.parametrize("sde", SDES, ids=lambda sde: type(sde).__name__)


@all_sdes
@pytest.mark.parametrize("name", proofs.ONE_STEP)
def test_one_step_is_its_sources_formula(name: str, sde: SDE) -> None:
    proofs.one_step(name, sde)


@pytest.mark.slow
@all_sdes
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.order])
def test_the_bias_shrinks_at_the_methods_order(name: str, sde: SDE) -> None:
    proofs.order(name, sde)


@all_sdes
def test_dpm_solver_pp_extrapolates_from_the_second_step_on(sde: SDE) -> None:
    proofs.second_step_of_2m(sde)


@all_sdes
def test_the_adaptive_ode_maps_p1_to_p_eps(sde: SDE) -> None:
    proofs.adaptive_flow(sde)


@all_sdes
def test_annealed_langevin_leaves_the_variance_of_eq_6_4(sde: SDE) -> None:
    proofs.annealed_langevin(sde)


@all_sdes
def test_langevin_keeps_the_variance_of_its_fixed_point(sde: SDE) -> None:
    proofs.stationary_langevin(sde)


@all_sdes
def test_ozaki_keeps_a_gaussian_for_every_step_size(sde: SDE) -> None:
    proofs.stationary_ozaki(sde)


@all_sdes
def test_predictor_corrector_predicts_then_corrects(sde: SDE) -> None:
    proofs.corrector_order(sde)


@all_sdes
def test_score_and_denoiser_are_two_views(sde: SDE) -> None:
    proofs.score_from_denoiser(sde)


@pytest.mark.parametrize(
    "proof",
    [
        proofs.moment_table,
        proofs.own_moment,
        proofs.analytic_bounds,
        proofs.estimated_moments,
        proofs.noise_is_not_raised_beyond_the_sdes_own,
    ],
    ids=lambda proof: proof.__name__,
)
def test_details(proof: Callable[[], None]) -> None:
    proof()


@pytest.mark.parametrize(
    ("times", "values"), [((0.5,), (1.0,)), ((0.5, 0.5), (1.0, 1.0)), ((0.1, 0.2), (1.0,))]
)
def test_moment_tables_without_two_times_are_refused(
    times: tuple[float, ...], values: tuple[float, ...]
) -> None:
    with pytest.raises(ValueError, match="increasing times"):
        MomentTable(times, values)


def test_the_adaptive_ode_solves_each_sample_alone() -> None:
    proofs.samples_alone()


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_analytic_dpm_is_exact_on_white_data_in_any_number_of_steps(eta: float) -> None:
    """One step from p_1 to p_eps: the optimal variance is the true one (Bao et al. 2022)."""
    sde = VP()
    eye = torch.eye(3, dtype=torch.float64)
    prior = GaussianPrior(sde, torch.zeros(3).double(), 0.3 * eye)
    grid = torch.tensor([1.0, sde.eps], dtype=torch.float64)
    sampler = AnalyticDPM(eta, Moments(prior))
    _, covariance = propagate(sampler, prior, grid, *prior.marginal(1.0))
    torch.testing.assert_close(covariance, prior.marginal(sde.eps)[1])


@pytest.mark.parametrize(
    ("name", "cost"),
    [(name, 1) for name in CASES if CASES[name].order == 1 and name != "predictor-corrector"]
    + [("dpm-solver-2", 2), ("dpm-solver-3", 3), ("dpm-solver++ (2M)", 1), ("heun", 2)]
    + [("edm stochastic", 2), ("predictor-corrector", 2), ("annealed langevin", 20)]
    + [("langevin", 1), ("langevin corrector", 1)]
    # the covariance of a Gaussian prior counts as an evaluation
    + [("langevin by ozaki", 2), ("annealed ozaki", 16)],
)
def test_a_step_costs_the_stated_evaluations(name: str, cost: int) -> None:
    prior = GaussianPrior(VP(), torch.zeros(2), torch.eye(2))
    counted = Counted(prior, items=5)
    sampler, x = CASES[name].make(10, prior), torch.zeros(5, 2)
    t, s = torch.full((5,), 0.8), torch.full((5,), 0.7)
    sampler.step(counted, x, t, s, SharedNoise(0), sampler.init(x))
    assert counted.nfe == cost

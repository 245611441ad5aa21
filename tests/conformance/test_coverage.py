"""The conformance suite contains every sampler of the package."""

from exact import CASES, gaussian
from proofs import ONE_STEP
from subclasses import defined_in

import medscore.samplers
from medscore.samplers.annealed_langevin import AnnealedLangevin
from medscore.samplers.base import Sampler
from medscore.samplers.dpm_solver_pp import DPMSolverPP2M
from medscore.samplers.ode import AdaptiveFlow
from medscore.samplers.predictor_corrector import PredictorCorrector
from medscore.sdes.linear import VE

ELSEWHERE = {PredictorCorrector, AnnealedLangevin, AdaptiveFlow, DPMSolverPP2M}
"""Proven by functions of their own in proofs.py instead of a formula of one step."""


def existing() -> set[type]:
    """All samplers that the package defines."""
    return defined_in(medscore.samplers, Sampler)


def parts(sampler: Sampler) -> set[type]:
    """The types of a sampler and its parts."""
    seen = {type(sampler)}
    if isinstance(sampler, PredictorCorrector):
        seen |= parts(sampler.predictor) | parts(sampler.corrector)
    if isinstance(sampler, AnnealedLangevin):
        seen |= parts(sampler.inner)
    return seen


def test_every_sampler_is_proven_on_every_sde() -> None:
    prior = gaussian(VE())
    cases = [parts(case.make(10, prior)) for case in CASES.values()]
    assert set.union(*cases) == existing()


def test_every_samplers_step_is_compared_with_its_source() -> None:
    assert {type(sampler) for sampler, _ in ONE_STEP.values()} | ELSEWHERE == existing()


def test_there_are_samplers_to_find() -> None:
    assert len(existing()) > 15

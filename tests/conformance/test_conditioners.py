"""Conditioners agree with the rules of their sources, and in the limit with the true posterior."""

import conditioning
import pytest
from conditioning import CASES, SDES
from subclasses import defined_in

import medscore.conditioners
from medscore.conditioners.base import Conditioner
from medscore.sdes.base import SDE

ELSEWHERE = {"EnergyGuidance", "ClassifierGuidance", "REDDiff", "VolumeTV"}
"""Proven by tests of their own."""


@pytest.mark.parametrize("sde", SDES, ids=repr)
@pytest.mark.parametrize("name", CASES)
def test_a_step_is_the_papers(name: str, sde: SDE) -> None:
    conditioning.step_is_the_rule(name, sde)


@pytest.mark.slow
@pytest.mark.parametrize("sde", SDES, ids=repr)
def test_moment_matching_converges_to_the_posterior(sde: SDE) -> None:
    conditioning.exact_moments(sde)


@pytest.mark.slow
@pytest.mark.parametrize("sde", SDES, ids=repr)
def test_exact_guidance_converges_to_the_posterior(sde: SDE) -> None:
    conditioning.exact_guidance(sde)


def test_every_conditioner_is_proven() -> None:
    existing = {kind.__name__ for kind in defined_in(medscore.conditioners, Conditioner)}
    problem = conditioning.problem(SDES[0], conditioning.Orthogonal(), 0.3)
    proven = {
        type(case.make(conditioning.Orthogonal(), problem.y[None], 0.3)).__name__
        for case in CASES.values()
    }
    assert proven | ELSEWHERE == existing

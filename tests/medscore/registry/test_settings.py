"""What the conditioner ``auto`` stands for."""

from dataclasses import replace
from typing import Any

import pytest

from medscore.errors import MedscoreError
from medscore.registry.presets import choose, preset
from medscore.registry.settings import POSTERIOR_PARAMETERS, Settings

EIGHT = Settings(samples=8)


def test_several_samples_of_a_prior_with_a_covariance_are_drawn_from_the_posterior() -> None:
    settled = EIGHT.settled(covariance=True)
    assert settled.conditioner == "moment-matching"
    assert settled.pairs is True
    assert settled.parameters == POSTERIOR_PARAMETERS
    assert settled.parameters_of("conditioner")["draws"] is True
    assert settled.parameters_of("sampler") == {"eta": 1.0}
    assert settled.settled(covariance=False) == settled
    settled.check()


@pytest.mark.parametrize(
    ("settings", "covariance"),
    [
        (Settings(samples=8), False),
        (Settings(samples=1), True),
        (Settings(samples=8, sampler="heun"), True),
        (Settings(samples=8, parameters={"conditioner.zeta": 0.5}), True),
        (preset("sharpest"), True),
    ],
    ids=["no covariance", "one sample", "another sampler", "a parameter of DiffPIR", "sharpest"],
)
def test_otherwise_it_is_diffpir(settings: Settings, covariance: bool) -> None:
    settled = settings.settled(covariance=covariance)
    assert settled.conditioner == "diffpir"
    assert settled.pairs is (settings.samples == 8 and settings.conditioner == "auto")
    assert settled.parameters == settings.parameters
    assert settled.record()["parameters"]["conditioner.trust"] == 0.5


def test_what_is_given_is_kept() -> None:
    parameters = {"conditioner.inflation": 4.0, "sampler.eta": 0.5}
    settled = Settings(samples=8, pairs=False, parameters=parameters).settled(covariance=True)
    assert settled.pairs is False
    assert settled.parameters == {**POSTERIOR_PARAMETERS, **parameters}
    named = Settings(samples=8, conditioner="dds").settled(covariance=True)
    assert (named.conditioner, named.pairs, named.parameters) == ("dds", False, {})


def test_a_parameter_that_only_moment_matching_has_chooses_it() -> None:
    asked = Settings(parameters={"conditioner.inflation": 2.0})
    assert asked.settled().conditioner == "moment-matching"
    asked.check()


def test_a_parameter_that_neither_has_is_refused() -> None:
    with pytest.raises(MedscoreError, match="conditioner diffpir has no parameter 'lam'"):
        Settings(parameters={"conditioner.lam": 0.5}).check()


def test_posterior_is_what_auto_stands_for() -> None:
    assert choose("posterior", samples=8).settled() == EIGHT.settled(covariance=True)


@pytest.mark.parametrize(
    ("given", "best", "conditioner", "rule"),
    [
        ({}, "none", "moment-matching", "none"),
        ({}, "tv", "moment-matching", "none"),
        ({"across_slices": "none"}, "tv", "moment-matching", "none"),
        ({"across_slices": "tv"}, "tv", "diffpir", "tv"),
        ({"conditioner": "diffpir"}, "tv", "diffpir", "none"),
        ({"samples": 1}, "tv", "diffpir", "tv"),
        ({"samples": 1}, "2.5d", "diffpir", "2.5d"),
        ({"parameters": {"across_slices.strength": 0.3}}, "2.5d", "diffpir", "tv"),
        ({"samples": 1}, "none", "diffpir", "none"),
        ({"samples": 1, "across_slices": "none"}, "tv", "diffpir", "none"),
        ({"conditioner": "dps"}, "tv", "dps", "none"),
    ],
)
def test_slices_are_coupled_by_what_auto_stands_for(
    given: dict[str, Any], best: str, conditioner: str, rule: str
) -> None:
    settled = replace(EIGHT, **given).settled(covariance=True, across=best)
    assert (settled.conditioner, settled.across_slices) == (conditioner, rule)


def test_a_record_says_nothing_of_slices_that_are_not_coupled() -> None:
    """So that records, and what is stored by them, are as they were."""
    assert "across_slices" not in EIGHT.record()
    assert "across_slices" not in replace(EIGHT, across_slices="none").record()
    assert replace(EIGHT, across_slices="tv").record()["across_slices"] == "tv"


def test_sharpest_is_the_default_with_diffpir() -> None:
    assert choose("sharpest", samples=8) == Settings(samples=8, conditioner="diffpir")
    assert choose("fast", samples=8) == EIGHT

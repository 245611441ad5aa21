"""Bounds on the share of pixels outside hold for new patients, whatever differs between them."""

import numpy as np
import pytest

from medscore.uncertainty.risk import (
    RULES,
    bound_of,
    confident_bound,
    expected_bound,
    losses_at,
    patients_needed,
    smallest_multiple,
)

LEVELS = np.array([*(k / 100 for k in range(1, 100)), 0.995])
GRID = np.sqrt(np.linspace(0.005, 1, 200))


def patients(generator: np.random.Generator, count: int) -> np.ndarray:
    """Quantiles of the ratios of patients whose errors are 0.5 to 3 times too large."""
    scales = generator.uniform(0.5, 3.0, count)
    return scales[:, None] * np.quantile(np.abs(GRID - 0.3), LEVELS)


@pytest.mark.statistical
@pytest.mark.parametrize(("rule", "count"), [("measured", 10), ("patient", 10), ("expected", 19),
                                             ("confident", 40)])  # fmt: skip
def test_every_rule_bounds_what_it_says_of_a_new_patient(rule: str, count: int) -> None:
    """200 calibrations with 20 new patients each, 50 of the slow rule; within 4 standard errors of
    the bound."""
    generator, alpha, confidence = np.random.default_rng(0), 0.1, 0.8
    losses, trials = [], 50 if rule == "confident" else 200
    for _ in range(trials):
        width = smallest_multiple(rule, LEVELS, patients(generator, count), alpha, confidence)
        assert np.isfinite(width)
        losses.append(losses_at(width, LEVELS, patients(generator, 20)))
    found = np.array(losses)
    each = found.mean(axis=1)
    error = 4 * each.std() / trials**0.5
    if rule == "measured":
        assert each.mean() <= (count * alpha + 1) / (count + 1) + error
        assert abs(each.mean() - alpha) < 0.03  # it means what it says, on average
    elif rule == "expected":
        assert each.mean() <= alpha + error
    elif rule == "patient":
        inside = (found <= alpha + 1e-9).mean(axis=1)
        assert inside.mean() >= confidence - 4 * inside.std() / trials**0.5
        assert inside.mean() <= confidence + 0.1  # and it is no wider than it must be
    else:
        generous = (each <= alpha).mean()
        assert generous >= confidence - 4 * (confidence * (1 - confidence) / trials) ** 0.5


@pytest.mark.parametrize("rule", RULES)
def test_a_multiple_is_the_smallest_that_satisfies_its_rule(rule: str) -> None:
    quantiles = patients(np.random.default_rng(1), 40)
    width = smallest_multiple(rule, LEVELS, quantiles, 0.1, 0.8)
    assert bound_of(rule, losses_at(width, LEVELS, quantiles), 0.8) <= 0.1 + 1e-12
    assert bound_of(rule, losses_at(width - 1e-9, LEVELS, quantiles), 0.8) > 0.1


@pytest.mark.parametrize(("rule", "least"), [("measured", 1), ("patient", 9), ("expected", 9)])
def test_too_few_patients_leave_a_rule_out_of_reach(rule: str, least: int) -> None:
    assert patients_needed(rule, 0.1, 0.9) == least
    quantiles = np.zeros((max(least - 1, 1), len(LEVELS)))
    width = smallest_multiple(rule, LEVELS, quantiles, 0.1, 0.9)
    assert np.isinf(width) == (least > 1)


def test_errors_where_samples_agree_leave_every_rule_out_of_reach() -> None:
    quantiles = np.full((3, len(LEVELS)), np.inf)
    assert np.isinf(smallest_multiple("measured", LEVELS, quantiles, 0.1, 0.9))


def test_the_bound_in_expectation_is_that_of_one_more_patient_without_any_pixel_inside() -> None:
    assert expected_bound([0.0, 0.5, 0.1]) == pytest.approx((0.6 + 1) / 4)


@pytest.mark.statistical
def test_the_bound_with_confidence_holds_with_it() -> None:
    """500 draws of 30 losses of mean 0.2; a bound that fails 10 % of the time fails 4 errors more
    in 16,000 runs."""
    generator = np.random.default_rng(2)
    below = [confident_bound(list(generator.beta(0.5, 2.0, 30)), 0.9) < 0.2 for _ in range(500)]
    assert np.mean(below) <= 0.1 + 4 * (0.09 / 500) ** 0.5
    assert confident_bound([0.2] * 200, 0.9) < 0.35
    assert confident_bound([1.0, 1.0], 0.9) == 1.0

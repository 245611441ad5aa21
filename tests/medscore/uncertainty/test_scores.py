"""Ranks, CRPS and coverage recognise samples of the right posterior, and no others."""

import numpy as np
import pytest

from medscore.uncertainty.ranks import rank_test, ranks
from medscore.uncertainty.scores import correlation, coverage_by_width, crps


def drawn(spread: float, count: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """Truths and 19 samples of each, with the deviation of the truth times ``spread``."""
    generator = np.random.default_rng(4)
    mean, std = generator.normal(size=count), generator.uniform(0.5, 2, count)
    truth = mean + std * generator.normal(size=count)
    samples = mean[:, None] + spread * std[:, None] * generator.normal(size=(count, 19))
    return truth, samples


@pytest.mark.parametrize(("spread", "rejected"), [(1.0, False), (0.8, True), (1.25, True)])
def test_ranks_are_uniform_for_the_right_spread_alone(spread: float, rejected: bool) -> None:
    truth, samples = drawn(spread)
    found = rank_test(ranks(truth, samples, np.random.default_rng(0)), 19)
    assert (found.rejected, found.level, len(found.counts)) == (rejected, 0.01, 20)
    outer, inner = found.counts[0] + found.counts[-1], found.counts[9] + found.counts[10]
    if rejected:
        assert (outer > inner) == (spread < 1)


@pytest.mark.statistical
def test_the_rank_test_raises_false_alarms_as_often_as_it_says() -> None:
    """2,000 tests of 200 uniform ranks at 5 %: within 4 standard errors."""
    generator = np.random.default_rng(5)
    alarms = [
        rank_test(generator.integers(0, 10, 200), 9, level=0.05).rejected for _ in range(2000)
    ]
    assert abs(np.mean(alarms) - 0.05) < 4 * (0.05 * 0.95 / 2000) ** 0.5


def test_ties_are_broken_evenly() -> None:
    found = ranks(np.zeros(3000), np.zeros((3000, 4)), np.random.default_rng(0))
    assert (np.bincount(found, minlength=5) > 500).all()


def test_a_rank_test_refuses_what_it_cannot_judge() -> None:
    with pytest.raises(ValueError, match="too few"):
        rank_test(np.zeros(5, int), 9)
    with pytest.raises(ValueError, match="do not divide"):
        rank_test(np.zeros(50, int), 9, bins=3)
    with pytest.raises(ValueError, match="expected 0 to 9"):
        rank_test(np.full(50, 10), 9)


def test_crps_is_the_mean_distance_less_half_that_between_samples() -> None:
    truth, samples = np.array([0.3, -1.0]), np.array([[0.0, 1.0], [1.0, 2.0], [4.0, 0.0]])
    between = np.abs(samples[:, None] - samples[None]).sum((0, 1)) / (3 * 2)
    expected = np.abs(samples - truth).mean(0) - between / 2
    assert crps(truth, samples) == pytest.approx(expected)
    assert crps(truth, samples[:1]) == pytest.approx(np.abs(samples[0] - truth))


@pytest.mark.parametrize("count", [2, 3, 20])
def test_crps_does_not_depend_on_the_number_of_samples(count: int) -> None:
    """A standard normal forecast scores E|X - x| - 1/sqrt(pi), 2/sqrt(pi) - 1/sqrt(pi) on average
    over x; within 4 standard errors of 40,000 truths."""
    draws = np.random.default_rng(count).normal(size=(count + 1, 40_000))
    found = crps(draws[0], draws[1:])
    assert abs(found.mean() - np.pi**-0.5) < 4 * found.std() / 200


def test_samples_of_the_right_spread_have_the_best_crps() -> None:
    scores = {spread: crps(*_swapped(spread)).mean() for spread in (0.5, 1.0, 2.0)}
    assert min(scores, key=lambda each: scores[each]) == 1.0


def _swapped(spread: float) -> tuple[np.ndarray, np.ndarray]:
    truth, samples = drawn(spread)
    return truth, samples.T


def test_coverage_is_counted_from_the_narrowest_to_the_widest() -> None:
    width = np.array([5.0, 1, 4, 2, 3, 6, 8, 7, 10, 9])
    inside = width > 2
    assert coverage_by_width(inside, width) == (0.0, 1.0, 1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="no 5 parts"):
        coverage_by_width(inside[:4], width[:4])


def test_the_correlation_is_of_the_sizes_of_errors() -> None:
    std = np.array([1.0, 2.0, 3.0])
    assert correlation(std, np.array([-1.0, 2.0, -3.0])) == pytest.approx(1.0)
    assert correlation(std, np.ones(3)) == 0.0

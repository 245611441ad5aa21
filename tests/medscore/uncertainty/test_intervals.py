"""Prediction intervals from a few samples hold a further draw as often as they say."""

import numpy as np
import pytest
from scipy import stats

from medscore.errors import MedscoreError
from medscore.uncertainty.intervals import (
    check_level,
    deviation,
    in_pairs,
    moderated_deviation,
    predictive_deviation,
    ratios,
    student_multiple,
)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("count", [2, 3, 8])
def test_intervals_hold_a_further_draw_at_their_level(count: int, level: float) -> None:
    """40,000 trials: within 4 standard errors, a false alarm in 16,000."""
    draws = np.random.default_rng(count).normal(3.0, 2.0, (count + 1, 40_000))
    mean, std = draws[:-1].mean(0), draws[:-1].std(0, ddof=1)
    half = student_multiple(level, count) * predictive_deviation(std, count)
    inside = float((np.abs(draws[-1] - mean) <= half).mean())
    assert abs(inside - level) < 4 * (level * (1 - level) / 40_000) ** 0.5


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("count", [2, 4, 8])
def test_intervals_of_pairs_hold_a_further_draw_at_their_level(count: int, level: float) -> None:
    """Pairs about an exact mean; 40,000 trials: within 4 standard errors, a false alarm in 16,000.

    Of two samples s is that of the pair alone; of more, the second term of s^2 vanishes.
    """
    generator = np.random.default_rng(count)
    noise, truth = generator.normal(0, 2, (count // 2, 40_000)), generator.normal(3, 2, 40_000)
    draws = np.stack([3 + noise, 3 - noise], axis=1).reshape(count, -1)
    std = deviation(draws, 0, pairs=True)
    half = student_multiple(level, count, pairs=True)
    inside = float((ratios(truth - draws.mean(0), std, count, pairs=True) <= half).mean())
    assert abs(inside - level) < 4 * (level * (1 - level) / 40_000) ** 0.5


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_variance_of_pairs_has_no_bias(share: float) -> None:
    """x = z sqrt(1 - c) + (z^2 - 1) sqrt(c / 2): variance 1, of which pairs cancel 1 - c.

    40,000 trials of 8 samples: 4 standard errors, from the trials themselves.
    """
    z = np.random.default_rng(0).normal(size=(4, 1, 40_000)) * np.array([[1], [-1]])
    x = (z * (1 - share) ** 0.5 + (z**2 - 1) * (share / 2) ** 0.5).reshape(8, -1)
    variance = np.square(deviation(x, 0, pairs=True))
    assert abs(variance.mean() - 1) < 4 * variance.std() / 200
    plain = np.square(deviation(x, 0))
    np.testing.assert_allclose(plain, x.var(0, ddof=1))
    if share < 1:
        assert abs(plain.mean() - 1) > 4 * plain.std() / 200


def test_an_odd_number_of_samples_is_not_in_pairs() -> None:
    assert [in_pairs(True, n) for n in (1, 2, 3, 8)] == [False, True, False, True]
    assert not in_pairs(False, 8)


def test_the_multiple_is_students() -> None:
    assert student_multiple(0.9, 8, pairs=True) == pytest.approx(stats.t.ppf(0.95, 4), rel=1e-9)
    assert student_multiple(0.9, 8) == pytest.approx(stats.t.ppf(0.95, 7), rel=1e-9)
    with pytest.raises(ValueError, match="1 sample"):
        student_multiple(0.9, 1)


def test_ratios_are_the_multiples_at_which_intervals_hold_the_truth() -> None:
    error, std = np.array([0.0, 3.0, -3.0, 1.0]), np.array([0.0, 2.0, 2.0, 0.0])
    found = ratios(error, std, 4)
    assert found.tolist() == [0.0, pytest.approx(3 / 2 / 1.25**0.5), found[1], np.inf]


@pytest.mark.parametrize("level", [0, 1, -0.1, 1.5, float("nan"), float("inf"), "0.9", None, True])
def test_a_level_outside_0_to_1_is_refused(level: object) -> None:
    with pytest.raises(MedscoreError, match=r"`interval` is .* - use a number between 0 and 1"):
        check_level(level)


def test_the_moderated_deviation_is_nearer_to_the_true_one() -> None:
    """Of 8 samples whose deviation varies slowly: smaller errors, and no bias beyond c."""
    generator = np.random.default_rng(3)
    true = 1 + np.sin(np.linspace(0, 3, 64))[:, None] * np.ones((64, 64))
    std = (true * generator.normal(size=(8, 64, 64))).std(0, ddof=1)[None]
    body = np.ones((1, 64, 64), dtype=bool)
    found = moderated_deviation(std, body)
    assert np.abs(found - true).mean() < 0.7 * np.abs(std - true).mean()
    assert (found**2).mean() == pytest.approx((std**2).mean() * (1 + 0.15**2), rel=0.01)


def test_the_moderated_deviation_is_taken_within_the_body() -> None:
    std, body = np.zeros((1, 16, 16)), np.zeros((1, 16, 16), dtype=bool)
    body[0, 4:12, 4:12] = True
    std[body] = 2.0
    found = moderated_deviation(std, body)
    assert found[body] == pytest.approx(2 * (1 + 0.15**2) ** 0.5)
    assert found[~body] == pytest.approx(0.15 * 2)

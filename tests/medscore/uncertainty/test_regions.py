"""Means and volumes of regions, with intervals from the samples."""

import numpy as np
import pytest

from medscore.uncertainty.regions import regions_of, sample_means

LABELS = np.array([[[0, 5, 5], [2, 2, 0]], [[0, 0, 5], [2, 0, 0]]])


def samples(count: int = 4) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, count, 2, 3)).astype(np.float32)


def test_a_region_is_averaged_over_all_slices_of_a_sample() -> None:
    x = samples()
    names, counts, means = sample_means(x, LABELS)
    assert (names.tolist(), counts.tolist()) == ([2, 5], [3, 3])
    expected = [[x[:, k][label == LABELS].mean() for k in range(4)] for label in (2, 5)]
    np.testing.assert_allclose(means, expected, rtol=1e-6)


def test_the_interval_is_that_of_the_sample_means() -> None:
    x = samples()
    first, second = regions_of(x, LABELS, 0.5, 3.0, above=0.2)
    assert (first.label, first.pixels, first.volume_ml) == (2, 3, 1.5)
    means = sample_means(x, LABELS)[2][1]
    half = 3.0 * means.std(ddof=1) * 1.25**0.5
    assert second.mean.mean == pytest.approx(means.mean())
    assert (second.mean.low, second.mean.high) == pytest.approx(
        (means.mean() - half, means.mean() + half)
    )
    assert second.above is not None
    volumes = [0.5 * float((x[:, k] > 0.2)[LABELS == 5].sum()) for k in range(4)]
    assert second.above.mean == pytest.approx(np.mean(volumes))
    assert 0 <= second.above.low <= second.above.high <= 1.5
    assert list(second.row()) == [
        "label", "pixels", "volume_ml", "mean", "std", "low", "high",
        "above_ml_mean", "above_ml_std", "above_ml_low", "above_ml_high",
    ]  # fmt: skip

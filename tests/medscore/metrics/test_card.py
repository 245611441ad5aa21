"""A metric card states what a mean means."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest, norm, t

from medscore.metrics.card import Card, Estimate, card, mean_interval
from medscore.metrics.image_quality import CONVENTIONS, CT_CONVENTION, Quality

FALSE_ALARM = 1e-3


def values_of(psnr: Sequence[float]) -> list[Quality]:
    """Qualities with these PSNR values, each with a different SSIM and NMSE."""
    return [Quality(float(v), 0.9 + 0.001 * k, 0.01 / (k + 1)) for k, v in enumerate(psnr)]


def card_of(psnr: Sequence[float], **options: object) -> Card:
    return card(values_of(psnr), CT_CONVENTION, target="the scan", **options)


def patients(spread: float, count: int = 12, each: int = 10) -> tuple[np.ndarray, list[str]]:
    """Values with a standard deviation of ``spread`` between patients and 1 between slices."""
    rng = np.random.default_rng(0)
    means = rng.normal(30, spread, count)
    values = (means[:, None] + rng.normal(size=(count, each))).ravel()
    return values, [f"p{k // each}" for k in range(count * each)]


def width(interval: tuple[float, float] | None) -> float:
    assert interval is not None
    return interval[1] - interval[0]


def test_mean_and_deviation_are_of_the_values() -> None:
    psnr = np.random.default_rng(0).normal(30, 2, 20)
    found, values = card_of(psnr), values_of(psnr)
    for name in ("psnr", "ssim", "nmse"):
        each = [getattr(q, name) for q in values]
        estimate = getattr(found, name)
        assert estimate.mean == pytest.approx(np.mean(each))
        assert estimate.std == pytest.approx(np.std(each, ddof=1))
        assert estimate.interval[0] < estimate.mean < estimate.interval[1]
    assert (found.count, found.groups) == (20, None)


@pytest.mark.statistical
@pytest.mark.slow
def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """400 draws of 20 normal values. The percentile interval of n values is short by the factor
    sqrt((n - 1) / n) and uses normal instead of Student quantiles: it covers 92.9 % of the time. A
    correct interval fails this test with probability ``FALSE_ALARM``.
    """
    n, draws, truth = 20, 400, 3.0
    expected = 2 * t.cdf(norm.ppf(0.975) * math.sqrt((n - 1) / n), n - 1) - 1
    assert expected == pytest.approx(0.929, abs=1e-3)
    covered = 0
    for values in np.random.default_rng(1).normal(truth, 2, (draws, n)):
        low, high = mean_interval(values) or (math.nan, math.nan)
        covered += low <= truth <= high
    assert binomtest(covered, draws, expected).pvalue > FALSE_ALARM


def test_the_interval_is_that_of_resampled_means() -> None:
    """Resampling of patients with different numbers of slices, against a bootstrap by hand."""
    rng = np.random.default_rng(2)
    sizes = [1, 2, 3, 8, 5, 1, 4, 9]
    by_patient = [rng.normal(rng.normal(30, 3), 1, size) for size in sizes]
    groups = [name for name, size in enumerate(sizes) for _ in range(size)]
    means = [
        np.concatenate([by_patient[k] for k in rng.integers(0, len(sizes), len(sizes))]).mean()
        for _ in range(10_000)
    ]
    low, high = np.percentile(means, [2.5, 97.5])
    found = mean_interval(np.concatenate(by_patient), groups)
    assert found == pytest.approx((low, high), abs=0.04 * (high - low))


def test_a_card_is_the_same_every_time() -> None:
    psnr = np.random.default_rng(3).normal(30, 2, 20)
    assert card_of(psnr) == card_of(psnr)
    assert card_of(psnr, seed=1).psnr.interval != card_of(psnr).psnr.interval


def test_patients_that_differ_widen_the_interval() -> None:
    """With patients 5 dB apart and slices 1 dB, each patient's slices act as one value: the
    interval is that of 12 values, about sqrt(10) times as wide as that of 120.
    """
    psnr, groups = patients(spread=5)
    plain, clustered = card_of(psnr), card_of(psnr, groups=groups)
    assert (plain.psnr.mean, plain.psnr.std) == (clustered.psnr.mean, clustered.psnr.std)
    ratio = width(clustered.psnr.interval) / width(plain.psnr.interval)
    assert ratio == pytest.approx(math.sqrt(10), rel=0.15)
    assert (clustered.count, clustered.groups) == (120, 12)


def test_patients_that_are_alike_do_not() -> None:
    psnr, groups = patients(spread=0)
    clustered, plain = card_of(psnr, groups=groups), card_of(psnr)
    ratio = width(clustered.psnr.interval) / width(plain.psnr.interval)
    assert 0.5 < ratio < 1.5


def test_a_patient_for_each_slice_is_no_clustering() -> None:
    psnr = np.random.default_rng(4).normal(30, 2, 15)
    assert card_of(psnr, groups=list("abcdefghijklmno")).psnr == card_of(psnr).psnr


@pytest.mark.parametrize("groups", [None, ["one"]], ids=["alone", "grouped"])
def test_one_value_has_no_spread(groups: list[str] | None) -> None:
    assert card_of([30.0], groups=groups).psnr == Estimate(30.0, None, None)


def test_one_patient_has_no_interval() -> None:
    found = card_of([30.0, 32.0], groups=["one", "one"])
    assert (found.psnr.mean, found.psnr.interval) == (31.0, None)
    assert found.psnr.std == pytest.approx(math.sqrt(2))
    assert card_of([30.0, 32.0]).psnr.interval == (30.0, 32.0)


def test_an_image_without_error_has_no_mean_in_json() -> None:
    found = card_of([30.0, math.inf, 31.0])
    assert found.psnr == Estimate(math.inf, None, None)
    assert found.ssim.interval is not None
    record = json.loads(json.dumps(found.record(), allow_nan=False))
    assert record["psnr"] == {"unit": "dB", "mean": None, "std": None, "interval": None}
    assert record["ssim"]["mean"] == pytest.approx(0.901)


@pytest.mark.parametrize("roi", ["full", "circle"])
@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_card_is_json(name: str, roi: str) -> None:
    convention = replace(CONVENTIONS[name], roi=roi)
    record = card(values_of([30.0, 31.0, 33.0]), convention, target="the scan").record()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["convention"] == str(convention)
    fields = dict(record["fields"])
    fields["high"] = math.inf if fields["high"] is None else fields["high"]
    assert type(convention)(**fields) == convention


def test_a_card_says_what_was_drawn() -> None:
    psnr, groups = patients(spread=5)
    plain, clustered = card_of(psnr).record(), card_of(psnr, groups=groups, seed=7).record()
    assert plain["interval"] == (
        "95% of the mean, percentile bootstrap, 10000 draws of slices, seed 0"
    )
    assert clustered["interval"].endswith("10000 draws of whole patients, seed 7")
    assert (plain["groups"], clustered["groups"], clustered["count"]) == (None, 12, 120)
    assert plain["target"] == "the scan"
    assert plain["roi"] == "full image"
    assert plain["range"] == "-1000..1500 HU"
    volumes = card(values_of([30.0, 31.0]), CONVENTIONS["fastmri"], target="RSS").record()
    assert "draws of volumes" in volumes["interval"]
    assert volumes["range"] == "0..maximum of the reference volume"


@pytest.mark.parametrize(
    ("psnr", "groups", "message"),
    [
        ([], None, "no card of 0 values"),
        ([30.0, math.nan], None, "2 values, 1 NaN"),
        ([30.0, 31.0], ["one"], "1 groups for 2 values"),
        ([30.0], ["one", "two"], "2 groups for 1 values"),
    ],
    ids=["empty", "nan", "short", "long"],
)
def test_what_has_no_card_is_refused(
    psnr: list[float], groups: list[str] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        card_of(psnr, groups=groups)

"""Scores without references: held-out measurements, their prediction, and SURE."""

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import Tensor

from medscore.datasets.volume import Source, Volume
from medscore.errors import MedscoreError
from medscore.hounsfield import MU_WATER, hu_to_mu, mu_to_hu
from medscore.measurements.measurement import Measurement
from medscore.measurements.simulation import simulate_scan
from medscore.measurements.tasks import Choices
from medscore.operators.mri.masks import calibration_region
from medscore.reconstruction.result import Reconstruction
from medscore.tuning.held_out import held_out_score, predicted, split
from medscore.tuning.sure import sure_score

SIZE = 24
Task = Callable[..., Measurement]


def volume(modality: str) -> Volume:
    y, x = np.mgrid[-11.5:12, -11.5:12]
    inside = np.hypot(x, y) < 10
    small = np.hypot(x - 3, y + 2) < 3
    values = np.where(inside, 40, -1000) if modality == "CT" else 100.0 * inside
    values = np.stack([values + 60 * small, values]).astype(np.float32)
    return Volume(values, np.diag([3.0, 3, 3, 1]), modality, Source("array", "0" * 64))


def scan(task: str, modality: str, **choices: object) -> Measurement:
    return simulate_scan(volume(modality), task, Choices(**choices), noise_name="none", seed=0)


SCANS = {
    "views": scan("sparse-ct", "CT", views=16),
    "lines": scan("mri", "MR", acceleration=2.0),
    "random lines": scan("mri", "MR", acceleration=2.0, mask="random"),
    "points": scan("mri", "MR", acceleration=2.0, mask="variable-density-2d"),
    "coils": scan("mri-multicoil", "MR", acceleration=2.0, coils=4),
    "pixels": scan("inpaint", "MR"),
    "cone": scan("cone-ct", "CT", views=16),
}
if find_spec("xraydb") and find_spec("spekpy"):  # metal needs the physics of the extra `metal`
    SCANS["metal"] = scan("sparse-mar", "CT", views=16)


def masks(m: Measurement) -> tuple[Tensor, Tensor]:
    """The masks of all and of the kept measurements after a split, on the full grid."""
    kept, out = split(m)
    whole = m.operator.mask(torch.from_numpy(m.data)).expand(m.data.shape)
    rest = kept.operator.mask(torch.from_numpy(kept.data)).expand(m.data.shape)
    assert torch.equal(rest, whole * (1 - out))
    return whole, rest


@pytest.mark.parametrize("m", SCANS.values(), ids=SCANS)
def test_a_split_is_two_parts_of_what_was_measured(m: Measurement) -> None:
    whole, rest = masks(m)
    share = float((whole - rest).sum() / whole.sum())
    assert 0.02 < share < 0.3
    kept, _ = split(m)
    assert np.array_equal(kept.data, m.data * rest.numpy())
    for i in range(len(kept.data)):
        kept.operator.select([i]).check(torch.from_numpy(kept.data[[i]]))


@pytest.mark.parametrize("m", SCANS.values(), ids=SCANS)
def test_the_splits_share_nothing(m: Measurement) -> None:
    out = torch.stack([split(m, fold=f)[1] for f in range(8)])
    assert float(out.sum(0).max()) == 1


@pytest.mark.parametrize(("name", "axes"), [("views", 1), ("cone", 2)])
def test_whole_views_are_left_out(name: str, axes: int) -> None:
    _, out = split(SCANS[name])
    views = out.flatten(-axes)
    assert bool((views == views[..., :1]).all())
    assert 0 < float(views[..., 0].sum()) < 5


@pytest.mark.parametrize("name", ["lines", "points", "coils"])
def test_the_centre_of_kspace_stays(name: str) -> None:
    m = SCANS[name]
    mask = m.operator.mask(torch.from_numpy(m.data)).bool().reshape(-1, SIZE, SIZE)[0]
    height, width = calibration_region(mask)
    _, out = split(m)
    middle = slice(SIZE // 2 - height // 2, SIZE // 2 + height // 2)
    across = slice(SIZE // 2 - width // 2, SIZE // 2 + width // 2)
    assert float(out.reshape(-1, SIZE, SIZE)[0][middle, across].sum()) == 0


def known(values: np.ndarray) -> Callable[[Measurement], Reconstruction]:
    """A method that returns a known image."""

    def solve(m: Measurement) -> Reconstruction:
        return Reconstruction(values[:, None], np.zeros((len(values), 1)), 0, 0, (), 0.0, m)

    return solve


@pytest.mark.parametrize("m", [m for name, m in SCANS.items() if name != "metal"],
                         ids=[name for name in SCANS if name != "metal"])  # fmt: skip
def test_the_truth_predicts_everything_and_the_score_falls_with_its_error(m: Measurement) -> None:
    truth = volume(m.modality).values
    rng = np.random.default_rng(0)
    error = rng.standard_normal(truth.shape).astype(np.float32) * (truth > -500)
    scores = [held_out_score(known(truth + s * error), m) for s in (0.0, 1.0, 10.0)]
    assert scores[0] > 90
    assert scores[0] > scores[1] > scores[2]
    assert scores[1] - scores[2] == pytest.approx(20, abs=0.01)


def test_the_method_is_not_given_what_it_shall_predict() -> None:
    m = SCANS["views"]
    seen = []

    def solve(given: Measurement) -> Reconstruction:
        seen.append(given)
        return known(volume("CT").values)(given)

    held_out_score(solve, m)
    _, out = split(m)
    assert float((torch.from_numpy(seen[0].data) * out).abs().max()) == 0


def test_several_splits_count_by_what_is_in_them() -> None:
    """Split 0 has the error e, and split 1 has none."""
    m = SCANS["lines"]
    truth = volume("MR").values
    outs = [split(m, fold=f)[1] for f in (0, 1)]

    def solve(given: Measurement) -> Reconstruction:
        first = float((torch.from_numpy(given.data) * outs[0]).abs().max()) == 0
        return known(truth * (1.1 if first else 1.0))(given)

    energy = [float((o * torch.from_numpy(m.data)).abs().square().sum()) for o in outs]
    expected = -10 * np.log10(0.01 * energy[0] / sum(energy))
    assert held_out_score(solve, m, folds=(0, 1)) == pytest.approx(expected, abs=1e-3)


def test_too_few_measurements_are_refused() -> None:
    with pytest.raises(MedscoreError, match="too little was measured"):
        split(scan("sparse-ct", "CT", views=1))


# SURE of a linear method, whose risk is known

STD = 0.05


def ridge(weight: float) -> Callable[[Measurement], Reconstruction]:
    """(A^T A + weight I)^-1 A^T y in 1/mm, in double precision."""

    def solve(m: Measurement) -> Reconstruction:
        matrix = _matrix(m)
        y = torch.from_numpy(m.data).double().flatten(1)
        normal = matrix.T @ matrix + weight * torch.eye(SIZE**2, dtype=torch.float64)
        x = torch.linalg.solve(normal, matrix.T @ y.T).T
        hu = mu_to_hu(x.reshape(-1, 1, SIZE, SIZE).numpy(), MU_WATER)
        return Reconstruction(hu.astype(np.float32), np.zeros((len(x), 1)), 0, 0, (), 0.0, m)

    return solve


def _matrix(m: Measurement) -> Tensor:
    pixels = torch.eye(SIZE**2).reshape(-1, 1, SIZE, SIZE)
    return m.operator.forward(pixels).flatten(1).T.double()


def noisy(seed: int) -> tuple[Measurement, Tensor]:
    m = scan("sparse-ct", "CT", views=12)
    clean = torch.from_numpy(m.data)
    generator = torch.Generator().manual_seed(seed)
    noise = STD * torch.randn(clean.shape, generator=generator) * m.operator.mask(clean)
    return replace(m, data=(clean + noise).numpy(), noise=f"gaussian:{STD}"), clean


@pytest.mark.slow
@pytest.mark.parametrize("weight", [1.0, 30.0])
def test_sure_is_the_risk_on_average(weight: float) -> None:
    """For 40 draws of noise and direction, the means differ by less than 4.5 standard errors.

    The false-alarm rate is below 1e-5.
    """
    gaps = []
    for seed in range(40):
        m, clean = noisy(seed)
        mask = m.operator.mask(clean)
        std = torch.full_like(clean, STD)
        images = torch.from_numpy(ridge(weight)(m).mean)[:, None]
        risk = float((mask * (predicted(m, images) - clean) / STD).square().sum())
        numbers = float(mask.expand(clean.shape).sum())
        gaps.append(-sure_score(ridge(weight), m, std, seed=seed) - risk / numbers)
    error = np.std(gaps, ddof=1) / len(gaps) ** 0.5
    assert abs(np.mean(gaps)) < 4.5 * error
    assert error < 0.03


@pytest.mark.slow
def test_sure_finds_the_weight_of_least_risk() -> None:
    m, clean = noisy(0)
    mask, std = m.operator.mask(clean), torch.full_like(clean, STD)
    weights = [0.1, 1.0, 10.0, 100.0, 1000.0]
    risks, scores = [], []
    for weight in weights:
        images = torch.from_numpy(ridge(weight)(m).mean)[:, None]
        risks.append(float((mask * (predicted(m, images) - clean)).square().sum()))
        scores.append(sure_score(ridge(weight), m, std))
    assert int(np.argmin(risks)) == int(np.argmax(scores))


def test_sure_needs_noise() -> None:
    with pytest.raises(MedscoreError, match="SURE needs noisy"):
        sure_score(known(volume("CT").values), SCANS["views"], None)


def test_predictions_are_in_the_units_of_the_measurement() -> None:
    m = SCANS["views"]
    hu = torch.from_numpy(volume("CT").values)[:, None]
    full = predicted(m, hu)
    direct = m.operator.T(hu_to_mu(hu))
    assert torch.allclose(full, direct, atol=1e-5)

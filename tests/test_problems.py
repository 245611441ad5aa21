"""The problems, settings and page of benchmarks/conditioners.py."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from medscore.conditioners.base import Conditioner
from medscore.datasets.fit import reduce
from medscore.datasets.volume import Source, Volume, centred_affine
from medscore.measurements.simulation import simulate
from medscore.metrics.image_quality import CT_CONVENTION
from medscore.operators.base import Operator
from medscore.reconstruction.baselines.base import BaselineMethod
from medscore.reconstruction.baselines.total_variation import FISTATV
from medscore.reconstruction.sampling import Sampling
from medscore.registry.settings import DEFAULTS

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
import conditioner_tuning  # noqa: E402
import conditioners  # noqa: E402
from conditioner_rows import CT_TASKS, NOISE_FREE, ROWS, THESIS, TV, Row, fista_tv  # noqa: E402
from conditioners_page import load, numbers, others, page  # noqa: E402
from problems import CT_PRIOR, Problem, ct, ct_train_slices  # noqa: E402

SIDE = 64
"""Pixels per side of the reconstructions here; the object has twice as many."""


def chest(side: int = 2 * SIDE) -> Volume:
    """A body of soft tissue with two lungs and a spine, in HU."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    hu = np.full((side, side), -1000.0, np.float32)
    hu[(x / 0.85) ** 2 + (y / 0.65) ** 2 < 1] = 40
    hu[(np.abs(x) - 0.4) ** 2 / 0.07 + y**2 / 0.16 < 1] = -850
    hu[x**2 + (y - 0.45) ** 2 < 0.012] = 700
    affine = centred_affine(side, side, (400 / side, 400 / side, 1.0))
    return Volume(hu[None], affine, "CT", Source("array", ""))


def truth(image: Volume, side: int = SIDE) -> Tensor:
    return torch.from_numpy(CT_CONVENTION.unit_range(reduce(image, side).values)).float()[:, None]


def misfit(problem: Problem, x: Tensor) -> Tensor:
    """The measured y - A x."""
    return problem.operator.mask(problem.y) * (problem.y - problem.operator.forward(x))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("problems.SIZE", SIDE)


@pytest.mark.parametrize("photons", ["1e4", "1e5", "1e12"])
def test_the_noise_of_a_scan_accounts_for_what_the_truth_leaves_unexplained(
    small: None, photons: str
) -> None:
    image = chest()
    problem = ct("sparse-ct", f"poisson:{photons}", views=45)(image, 0)
    gap, measured = misfit(problem, truth(image)), problem.operator.mask(problem.y)
    assert problem.noise_std == 1
    assert 0.5 < float((gap.square().sum() / measured.expand_as(gap).sum()).sqrt()) < 1.5


def test_data_with_photons_are_no_inverse_crime_and_those_of_the_thesis_are(small: None) -> None:
    image = chest()
    x = truth(image)
    crime = ct("sparse-ct", "none", views=23)(image, 0)
    honest = ct("sparse-ct", "poisson:1e12", views=23)(image, 0)  # no noise to speak of
    assert crime.noise_std == 0
    assert float(misfit(crime, x).norm() / crime.y.norm()) < 1e-5
    assert float(misfit(honest, x).norm() / honest.y.norm()) > 1e-3


@pytest.mark.slow
def test_one_task_of_ct_is_free_of_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("spekpy")
    monkeypatch.setattr("problems.SIZE", 32)
    made = {name: make(chest(64), 0) for name, make in CT_TASKS.items()}
    assert [name for name, problem in made.items() if problem.noise_std == 0] == [THESIS]
    assert all("photons" in name for name in made if name != THESIS)


def test_the_seed_of_the_noise_is_that_of_the_slice(small: None) -> None:
    make = ct("sparse-ct", "poisson:1e5", views=10)
    first, again, second = (make(chest(), k).classical["FBP"] for k in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


@pytest.mark.slow
def test_metal_does_not_count(small: None) -> None:
    pytest.importorskip("spekpy")
    image = chest()
    problem = ct("mar", "poisson:1e5")(image, 0)
    metal = simulate(image, "mar", noise="poisson:1e5", size=SIDE).metal_mask
    assert metal is not None
    x = truth(image) + 0.01
    inside = torch.from_numpy(metal)[:, None]
    assert problem.score(torch.where(inside, 0.7, x)) == problem.score(x)
    assert problem.score(torch.where(inside, x, 0.7)) != problem.score(x)
    assert set(problem.classical) == {"LI"}


class ReceivedError(Exception):
    """What a method received."""


def received(operator: Operator, y: Tensor, noise_std: float) -> Conditioner:
    raise ReceivedError(operator, y, noise_std)


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["poisson:1e5", "none"])
def test_samplers_receive_what_recon_gives_them(noise: str) -> None:
    image = chest(256)
    problem = ct("sparse-ct", noise, views=10)(image, 3)
    m = simulate(image, "sparse-ct", noise=noise, seed=3, size=128, views=10)
    with pytest.raises(ReceivedError) as taken:
        Sampling(replace(DEFAULTS, prior=CT_PRIOR), conditioner=received).reconstruct(m)
    operator, y, noise_std = taken.value.args
    x = truth(image, 128)
    torch.testing.assert_close(problem.y, y)
    torch.testing.assert_close(problem.operator.forward(x), operator.forward(x))
    assert problem.noise_std == noise_std


def test_total_variation_receives_what_recon_gives_it(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Tensor, Tensor, FISTATV]] = []

    def solve(self: FISTATV, operator: Operator, y: Tensor) -> Tensor:
        calls.append((operator.adjoint(y), y, self))
        return torch.zeros(1, 1, SIDE, SIDE)

    monkeypatch.setattr(FISTATV, "solve", solve)
    fista_tv(ct("sparse-ct", "poisson:1e5", views=10)(chest(), 0), 3e-4)
    m = simulate(chest(), "sparse-ct", noise="poisson:1e5", size=SIDE, views=10)
    BaselineMethod(FISTATV(weight=3e-4)).reconstruct(m)
    (image, y, solver), (other_image, other_y, other) = calls
    torch.testing.assert_close(y, other_y)
    torch.testing.assert_close(image, other_image)
    assert solver == other


def test_training_slices_keep_their_matrix_and_are_of_different_patients(tmp_path: Path) -> None:
    (tmp_path / "ct").mkdir()
    hu = np.concatenate([chest().values + 10 * k for k in range(4)]).astype(np.int16)
    spacing = np.array([1.0, 1.0, 1.5, 2.0], np.float32)
    np.savez(
        tmp_path / "ct/tcga-lung-slices-train.npz",
        hu=hu, pixel_spacing_mm=spacing, patient=np.array(["a", "a", "b", "c"]),
    )  # fmt: skip
    found = ct_train_slices(tmp_path, 3)
    assert [v.values.shape for v in found] == [(1, 2 * SIDE, 2 * SIDE)] * 3
    assert [v.spacing[0] for v in found] == pytest.approx([1.0, 1.5, 2.0])
    assert [float(v.values.max()) for v in found] == [700, 720, 730]


def test_settings_of_other_data_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = tmp_path / "tuned.json"
    monkeypatch.setattr(conditioner_tuning, "TUNED", tuned)
    tuned.write_text(json.dumps({"CT 23 views - FISTA-TV": {"3e-05, 0": 33.5}}))
    row = Row("CT 23 views, 1e5 photons", TV)
    with pytest.raises(SystemExit, match="not tuned"):
        conditioner_tuning.setting_of(row)
    trials = {"0.0001, 0": 31.0, "0.0003, 0": 30.0}
    tuned.write_text(json.dumps({row.name: trials}))
    assert conditioner_tuning.setting_of(row) == (1e-4, 0.0)


def test_total_variation_is_tuned_on_the_data_of_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[Any, ...]] = []

    def problem(*which: Any) -> Problem:
        made.append(which)
        return Problem("", None, None, 1.0, lambda x: (float(x), 0.0), {})  # type: ignore[arg-type]

    monkeypatch.setattr(conditioner_tuning, "TUNED", tmp_path / "tuned.json")
    monkeypatch.setattr(conditioner_tuning, "problem", problem)
    monkeypatch.setattr(conditioner_tuning, "fista_tv", lambda p, weight: weight)
    conditioner_tuning.tune(tmp_path, ["CT 45 views, 1e5 photons - *"])
    assert set(made) == {("CT 45 views, 1e5 photons", tmp_path, i, 3) for i in range(3)}
    row = Row("CT 45 views, 1e5 photons", TV)
    assert conditioner_tuning.setting_of(row) == (max(conditioner_tuning.TV_WEIGHTS), 0.0)


def stored_row(row: Row, psnr: float, residual: float) -> list[dict[str, Any]]:
    def one(k: int) -> dict[str, Any]:
        each = [[psnr + k, 0.9]] * row.samples
        return {
            "slice": k, "each": each, "mean": [psnr + k, 0.9], "classical": {"FBP": [20.0, 0.4]},
            "nfe": 0 if row.solver == TV else 50, "residual": residual, "seconds": 1.0,
        }  # fmt: skip

    return [one(k) for k in range(2)]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """All rows, with a large residual where there is noise, and a row of the past."""
    for row in ROWS:
        residual = 1e-4 if row.task in NOISE_FREE and row.solver != TV else 0.5
        content = stored_row(row, 30.0, residual)
        (tmp_path / f"{row.name}.json").write_text(json.dumps(content))
    old = stored_row(Row("CT 23 views", "DiffPIR", 8), 99.0, 0.9)
    (tmp_path / "CT 23 views - DiffPIR.json").write_text(json.dumps(old))
    return tmp_path


def test_the_page_has_the_rows_of_the_table_and_no_others(store: Path) -> None:
    assert set(load(store)) == {row.name for row in ROWS}
    assert others(store) == ["CT 23 views - DiffPIR"]
    text = page(store, "hash")
    assert "| CT 23 views | " not in text
    assert "99.5" not in text
    assert f"| {THESIS} | DiffPIR | 2 | 8 | 50 | 30.50, 0.900 |" in text


def test_a_row_that_is_not_measured_is_named(store: Path) -> None:
    (store / f"{THESIS} - {TV}.json").unlink()
    with pytest.raises(SystemExit, match=f"not measured yet: {THESIS} - {TV}"):
        page(store, "hash")


def test_the_residual_has_a_target_where_there_is_no_noise(store: Path) -> None:
    assert numbers(store)[-1].value == pytest.approx(1e-4)
    path = store / f"{THESIS} - DiffPIR.json"
    path.write_text(json.dumps(stored_row(Row(THESIS, "DiffPIR", 8), 30.0, 0.01)))
    assert numbers(store)[-1].verdict == "NO"


def test_every_ct_task_has_targets_and_the_thesis_task_that_of_speed(store: Path) -> None:
    names = [n.name for n in numbers(store)]
    for task in CT_TASKS:
        assert f"{task}: DiffPIR minus {TV} (dB)" in names
        assert f"{task}: DiffPIR minus FBP (SSIM)" in names
    assert [n for n in names if "ratio" in n] == [
        f"{task}: ratio of the wall times" for task in (THESIS, "MRI 8x")
    ]


def test_a_check_has_the_precision_of_the_stored_row(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Row("MRI 8x", "DiffPIR", 8)
    path, used = store / f"{row.name}.json", []

    def solve(row: Row, group: list[int], data: Path, samples: range, precision: str) -> Any:
        used.append(precision)
        return stored_row(row, 30.25, 0.0)[group[0] : group[0] + 1]

    monkeypatch.setattr(conditioners, "STORE", store)
    monkeypatch.setattr(conditioners, "solve", solve)
    assert conditioners.check(row, store).value == pytest.approx(0.25)
    path.write_text(
        json.dumps([k | {"precision": "float32"} for k in json.loads(path.read_text())])
    )
    conditioners.check(row, store)
    assert used == ["bf16", "bf16", "float32", "float32"]

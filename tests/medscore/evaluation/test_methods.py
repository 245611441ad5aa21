"""A cell measures the slice in its own matrix where its task does, and is judged by area means."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medscore.datasets.collections.cohort import Case, read_cohort
from medscore.datasets.fit import reduce
from medscore.datasets.formats.write import write_image
from medscore.datasets.volume import Source, Volume
from medscore.errors import MedscoreError
from medscore.evaluation import methods
from medscore.evaluation.comparison import cohort
from medscore.evaluation.config import CohortSpec, MethodSpec, MetricSpec, TaskSpec
from medscore.measurements.simulation import simulate

WHERE = Path("x.yaml")
PLAIN: dict[str, Any] = {"task": "sparse-ct", "views": 9}
FINER = [{"finer": 2}, {"noise": "poisson:1e5"}, {"noise": "poisson:1e5,9", "finer": 4}]
SAME = [{}, {"finer": 1}, {"noise": "poisson:1e5", "finer": 1}]


def image() -> Volume:
    y, x = np.mgrid[-31.5:32, -31.5:32]
    values = np.where(np.hypot(x - 3, y) < 24, 40.0, -1000.0) + 700 * (np.hypot(x, y - 9) < 5)
    affine = np.diag([-1.5, -1.5, 3.0, 1.0])
    return Volume(values[None].astype(np.float32), affine, "CT", Source("array", "ab" * 32))


def task(options: dict[str, Any]) -> TaskSpec:
    return TaskSpec.model_validate({"name": "t", "scan": {**PLAIN, **options}})


def case_of(folder: Path, options: dict[str, Any]) -> Case:
    """The slice of a cohort of 32 x 32 pixels that a task measures, from a file of 64 x 64."""
    write_image(folder / "a.nii.gz", image().values, image().affine)
    spec = CohortSpec(modality="CT", data=("*.nii.gz",), size=32)
    (case,) = cohort(spec, folder, [task(options)])
    return case


@pytest.mark.parametrize("options", [*FINER, *SAME])
def test_a_cell_is_the_simulation_of_the_image_in_its_own_matrix(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    case = case_of(tmp_path, options)
    assert (case.native is not None) == (options in FINER)
    found = methods.measure(case, task(options), 3, WHERE)
    expected = simulate(image(), "sparse-ct", views=9, size=32, seed=3, **options)
    np.testing.assert_array_equal(found.data, expected.data)
    np.testing.assert_allclose(found.affine, case.volume.affine)
    assert found.noise == expected.noise
    np.testing.assert_array_equal(case.volume.values, reduce(image(), 32).values)


@pytest.mark.parametrize("options", SAME)
def test_tasks_on_the_same_grid_are_not_affected_by_others(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    """A comparison may hold both; the area means are measured as before."""
    case = case_of(tmp_path, FINER[0])
    found = methods.measure(case, task(options), 3, WHERE)
    alone = methods.measure(replace(case, native=None), task(options), 3, WHERE)
    np.testing.assert_array_equal(found.data, alone.data)


def test_a_cell_is_judged_by_the_area_means_and_known_by_its_own_matrix(tmp_path: Path) -> None:
    case = case_of(tmp_path, FINER[1])
    work = methods.Work(
        case=case, number=0, task=task(FINER[1]), seed=0, where=WHERE, keep=True,
        method=MethodSpec(name="FBP", baseline={"kind": "fbp"}), metric=MetricSpec(convention="ct"),
    )  # fmt: skip
    cell, images = methods.cell_of(work)
    assert images is not None
    judged = methods.judge(images["FBP"][None], case.volume.values, work.metric, None)
    assert cell.qualities["FBP"] == judged
    assert work.fixed != replace(work, case=replace(case, native=None)).fixed


def test_magnitudes_are_not_read_twice(tmp_path: Path) -> None:
    mr = replace(image(), values=image().values + 1000, modality="MR")
    write_image(tmp_path / "a.nii.gz", mr.values, mr.affine)
    spec = CohortSpec(modality="MR", data=("*.nii.gz",), size=32)
    scan = {"name": "t", "scan": {"task": "mri", "noise": "gaussian:1"}}
    (case,) = cohort(spec, tmp_path, [TaskSpec.model_validate(scan)])
    assert case.native is None


@pytest.mark.parametrize(
    ("scan", "why"),
    [
        ({"task": "mri", "spectrum": 120}, "`spectrum` is not an option of task mri"),
        ({"task": "mri", "finer": 2}, "`finer` is not an option of task mri"),
        ({"task": "inpaint", "finer": 2}, "`finer` is not an option of task inpaint"),
        ({"task": "mri", "views": 9}, "`views` is not an option of task mri"),
    ],
)
def test_an_option_of_another_task_is_refused(
    tmp_path: Path, scan: dict[str, Any], why: str
) -> None:
    mr = replace(image(), values=image().values + 1000, modality="MR")
    write_image(tmp_path / "a.nii.gz", mr.values, mr.affine)
    (case,) = read_cohort(["*.nii.gz"], root=tmp_path, modality="MR", size=32)
    with pytest.raises(MedscoreError, match=f"x.yaml: {why}"):
        methods.measure(case, TaskSpec.model_validate({"name": "t", "scan": scan}), 0, WHERE)

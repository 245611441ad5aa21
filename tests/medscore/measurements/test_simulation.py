"""``simulate``: options checked by task, name, type and range; nothing is ignored."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medscore.datasets.fit import reduce
from medscore.datasets.volume import Source, Volume
from medscore.errors import MedscoreError
from medscore.measurements.choices import Choices
from medscore.measurements.measurement import Measurement
from medscore.measurements.simulation import simulate, simulate_scan
from medscore.measurements.tasks import NEEDS, OPTIONS, TASKS
from medscore.operators.mri.multicoil import sensitivity_of
from medscore.operators.mri.real_images import Phased

OTHER: dict[str, Any] = {
    "views": 7, "arc": 60.0, "acceleration": 2.0, "mask": "random", "coils": 3, "factor": 4,
    "blur": 1.0, "hidden": 0.5, "implants": ((3.0, 3.0, 6.0),), "finer": 2, "spectrum": 90.0,
    "phase": "random", "maps": "low-resolution", "trajectory": "radial",
    "source_distance": 700.0,
}  # fmt: skip
"""A value of every option other than its default."""


def volume(modality: str = "CT", side: int = 32) -> Volume:
    values = np.random.default_rng(0).uniform(0, 900, (2, side, side)).astype(np.float32)
    values -= 1000 if modality == "CT" else 0
    return Volume(values, np.diag([-2.0, -2, 3, 1]), modality, Source("array", "ab" * 32))


def without_packages(task: str, option: str = "") -> None:
    if "mar" in task or option == "spectrum":
        for package in ("spekpy", "xraydb"):
            pytest.importorskip(package)
    if option == "trajectory":
        pytest.importorskip("finufft")


def test_the_options_of_every_task_are_listed() -> None:
    assert list(OPTIONS) == list(TASKS)
    assert {name for names in OPTIONS.values() for name in names} == set(OTHER)
    assert set(OTHER) | {"noise", "seed"} == set(Choices.__dataclass_fields__)


@pytest.mark.parametrize(
    ("task", "option"),
    [
        pytest.param(t, o, marks=[pytest.mark.slow] if o == "spectrum" else [])
        for t, names in OPTIONS.items()
        for o in names
    ],
)
def test_an_option_changes_the_measurement(task: str, option: str) -> None:
    without_packages(task, option)
    image = volume(NEEDS.get(task, "CT"))
    plain, changed = simulate(image, task), simulate(image, task, **{option: OTHER[option]})
    if option == "maps":  # of the same data
        plain, changed = (replace(m, data=first_maps(m)) for m in (plain, changed))
    assert plain.data.shape != changed.data.shape or not np.array_equal(plain.data, changed.data)


def first_maps(m: Measurement) -> NDArray[Any]:
    """The coil maps of the first slice."""
    maps = sensitivity_of(m.operator.inner if isinstance(m.operator, Phased) else m.operator)
    assert maps is not None
    return maps.reshape(-1, *maps.shape[-3:])[0].numpy()


@pytest.mark.parametrize(("task", "option"), [(t, o) for t in TASKS for o in (*OTHER, "magic")])
def test_an_option_of_another_task_is_refused(task: str, option: str) -> None:
    if option in OPTIONS[task]:
        return
    with pytest.raises(MedscoreError, match=f"`{option}` is not an option of task {task}") as error:
        simulate(volume(NEEDS.get(task, "CT")), task, **{option: OTHER.get(option, 1)})
    assert all(f"`{name}`" in error.value.hint for name in OPTIONS[task])


@pytest.mark.parametrize(
    ("task", "options", "why"),
    [
        ("sudoku", {}, "`task` is 'sudoku'"),
        ("sparse-ct", {"views": 0}, "`views` is 0"),
        ("sparse-mar", {"views": 0}, "`views` is 0"),
        ("sparse-ct", {"views": 10**6}, "`views` is 1000000"),
        ("sparse-ct", {"views": 2.5}, "`views` is 2.5"),
        ("sparse-ct", {"views": None}, "`views` is None"),
        ("sparse-ct", {"seed": -1}, "`seed` is -1"),
        ("sparse-ct", {"seed": 2**40}, "`seed` is 1099511627776"),
        ("sparse-ct", {"noise": "loud"}, "`noise` is 'loud'"),
        ("sparse-ct", {"noise": "gaussian:1e20"}, "with `noise` gaussian:1e20 the data reach"),
        ("limited-angle", {"arc": 181}, "`arc` is 181"),
        ("limited-angle", {"arc": 1e-9}, "`arc` is 1e-09 degrees, which contains no view - use"),
        ("sparse-ct", {"noise": 0.1}, "`noise` is 0.1 - use text: none, gaussian:0.01"),
        ("sparse-ct", {"noise": None}, "`noise` is None - use text"),
        ("sparse-ct", {"seed": "a"}, "`seed` is 'a' - use a whole number"),
        (["sparse-ct"], {}, "`task` is ['sparse-ct']"),
        ("mar", {"implants": [(0, 0, -5)]}, "`implants` has a disc (0, 0, -5), whose radius"),
        ("mar", {"implants": [(0, 0, 5), (0, 0, 0)]}, "`implants` has a disc (0, 0, 0)"),
        ("sparse-mar", {"implants": [(0, 0, -5)]}, "`implants` has a disc (0, 0, -5)"),
        ("mri", {"acceleration": 0}, "`acceleration` is 0 - use 1 or more"),
        ("mri", {"acceleration": 1e9}, "`acceleration` is 1e+09: the acceleration leaves 0 of 32"),
        ("mri", {"acceleration": 1e9, "mask": "random"}, "`acceleration` is 1e+09: the"),
        ("mri-multicoil", {"acceleration": 32}, "`acceleration` is 32: the acceleration leaves 1"),
        ("mri", {"acceleration": 1e9, "mask": "variable-density"}, "`acceleration` is 1e+09: the"),
        ("mri", {"acceleration": 1e9, "mask": "variable-density-2d"}, "`acceleration` is 1e+09"),
        ("inpaint", {"hidden": 1e-9}, "`hidden` is 1e-09, which hides no pixel"),
        ("inpaint", {"hidden": 0.999}, "`hidden` is 0.999, which hides every pixel"),
        ("deblur", {"blur": 0}, "`blur` is 0 pixels"),
        ("sr", {"factor": 0}, "`factor` is 0 - use 1 to 8192"),
        ("limited-angle", {"arc": float("nan")}, "`arc` is nan"),
        ("mar", {"noise": "gaussian:1"}, "photons"),
        ("mar", {"implants": [(1, 2)]}, "`implants` is"),
        ("mri", {"mask": "star"}, "`mask` is 'star'"),
        ("mri", {"acceleration": 0.5}, "`acceleration` is 0.5"),
        ("mri", {"noise": "poisson:1e5"}, "`noise`"),
        ("mri-multicoil", {"coils": 0}, "`coils` is 0"),
        ("mri", {"phase": "flat"}, "`phase` is 'flat' - use one of: none, random"),
        ("mri-multicoil", {"phase": 3}, "`phase` is 3 - use none or random"),
        ("mri-multicoil", {"maps": "guess"}, "`maps` is 'guess' - use one of: known, low-"),
        (
            "mri-multicoil",
            {"maps": "espirit", "mask": "variable-density-2d", "acceleration": 16},
            "coil maps cannot be estimated",
        ),
        ("inpaint", {"hidden": 1}, "`hidden` is 1"),
        ("sr", {"factor": 5}, "`factor` is 5"),
        ("deblur", {"blur": 9}, "`blur` is 9"),
    ],
)
def test_refuses_in_one_line(task: str, options: dict[str, Any], why: str) -> None:
    with pytest.raises(MedscoreError) as error:
        simulate(volume(NEEDS.get(str(task), "CT")), task, **options)
    assert why in str(error.value)
    assert str(error.value).count(f"`{next(iter(options), '')}` is") <= 1
    assert "\n" not in str(error.value)
    assert " - " in str(error.value)


@pytest.mark.parametrize("task", [task for task in TASKS if task not in NEEDS or "mri" in task])
def test_other_tasks_measure_the_area_means(task: str) -> None:
    """``size`` reduces the image first, whatever is measured."""
    image = volume(NEEDS.get(task, "CT"))
    found, expected = simulate(image, task, size=24), simulate(reduce(image, 24), task)
    np.testing.assert_array_equal(found.data, expected.data)
    np.testing.assert_array_equal(found.affine, expected.affine)


@pytest.mark.parametrize(
    ("image", "task", "why"),
    [
        (volume("MR"), "sparse-ct", "the modality is MR, CT is required"),
        (volume("CT"), "mri", "the modality is CT, MR is required - use an MR scan"),
        (volume("PET"), "inpaint", "PET, CT or MR is required - use a CT or MR scan"),
        (Volume(volume().values + 1000, volume().affine, "CT", Source("array", "")), "sparse-ct",
         "shows air"),
        (Volume(volume().values * np.nan, volume().affine, "CT", Source("array", "")), "inpaint",
         "NaN"),
    ],
)  # fmt: skip
def test_refuses_an_image(image: Volume, task: str, why: str) -> None:
    with pytest.raises(MedscoreError, match=why):
        simulate(image, task)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("scan.dcm", "`image` is 'scan.dcm', expected an image that was read - read a file with"),
        (None, "`image` is None"),
        (np.zeros((2, 8, 8)), "`image` is a ndarray"),
    ],
)
def test_what_is_no_image_is_refused(wrong: Any, why: str) -> None:
    with pytest.raises(MedscoreError, match=why):
        simulate(wrong, "sparse-ct")


def test_an_image_of_unknown_modality_is_taken_for_what_the_task_needs() -> None:
    image = volume("MR")
    unknown = Volume(image.values, image.affine, "unknown", image.source)
    assert simulate(unknown, "mri").modality == simulate(unknown, "inpaint").modality == "MR"


def test_the_public_function_and_the_typed_one_agree() -> None:
    one = simulate(volume(), "sparse-ct", noise="gaussian:0.1", seed=3, views=7)
    from medscore.operators.noise import GaussianNoise

    chosen = Choices(views=7, noise=GaussianNoise(0.1), seed=3)
    other = simulate_scan(volume(), "sparse-ct", chosen, noise_name="gaussian:0.1", seed=3)
    np.testing.assert_array_equal(one.data, other.data)
    assert one.noise == other.noise == "estimate:uniform+gaussian:0.1"

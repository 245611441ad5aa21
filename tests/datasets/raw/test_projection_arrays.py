"""Sinograms in every kind of array file: values by hand, order of the axes, angles, counts."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile
import torch
from array_writers import hdf5_file, matlab_73
from numpy.typing import NDArray

from medscore.datasets.raw.projections import read_projections
from medscore.errors import MedscoreError
from medscore.measurements.from_ct import from_projections
from medscore.operators.ct.radon import Radon

VIEWS, DETECTORS, SLICES, PITCH = 12, 9, 3, 2.0
STACK = np.arange(SLICES * VIEWS * DETECTORS, dtype=np.float32).reshape(SLICES, VIEWS, DETECTORS)
STACK = STACK / STACK.max()
FIELDS: dict[str, Any] = {"beam": "parallel", "views": VIEWS, "detector_spacing": PITCH}
Write = Callable[[Path, NDArray[Any]], Path]


def npy(folder: Path, values: NDArray[Any]) -> Path:
    np.save(folder / "s.npy", values)
    return folder / "s.npy"


def npz(folder: Path, values: NDArray[Any]) -> Path:
    np.savez_compressed(folder / "s.npz", sino=values, angles=np.arange(5.0))
    return folder / "s.npz"


def mat5(folder: Path, values: NDArray[Any]) -> Path:
    content = {"sino": values, "scan": {"name": "disc"}}
    scipy.io.savemat(folder / "s.mat", content, do_compression=True)
    return folder / "s.mat"


def mat73(folder: Path, values: NDArray[Any]) -> Path:
    return matlab_73(folder / "s.mat", {"sino": values})


def hdf5(folder: Path, values: NDArray[Any]) -> Path:
    return hdf5_file(folder / "s.h5", {"scan/sino": values})


def tiff(folder: Path, values: NDArray[Any]) -> Path:
    tifffile.imwrite(folder / "s.tif", values, photometric="minisblack")
    return folder / "s.tif"


FORMATS = {f.__name__: f for f in (npy, npz, mat5, mat73, hdf5, tiff)}


@pytest.fixture(autouse=True)
def no_child_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trial read takes a second for each file; test_mat_files.py has tests of it."""
    monkeypatch.setattr("medscore.io.mat_files.look", lambda *paths, **kind: None)
    monkeypatch.setattr("medscore.io.hdf5.look", lambda *paths, **kind: None)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2), (1, 2), (2, 1)])
def test_values_and_order_of_the_axes(tmp_path: Path, name: str, axes: tuple[int, ...]) -> None:
    """(slice, view, detector), (view, slice, detector), (view, detector), (detector, view)."""
    whole = STACK if len(axes) == 3 else STACK[:1]
    stored = whole.transpose(axes) if len(axes) == 3 else whole[0].transpose([a - 1 for a in axes])
    path = FORMATS[name](tmp_path, np.ascontiguousarray(stored))
    found = read_projections(path, FIELDS)
    np.testing.assert_array_equal(found.data, whole)


@pytest.mark.parametrize("name", FORMATS)
def test_stated_axes_are_taken_at_their_word(tmp_path: Path, name: str) -> None:
    """Where the numbers say nothing: as many slices as views as detectors."""
    cube = np.random.default_rng(0).random((8, 8, 8)).astype(np.float32)
    fields = {**FIELDS, "views": 8, "axes": ["detector", "slice", "view"]}
    path = FORMATS[name](tmp_path, cube)
    found = read_projections(path, fields)
    np.testing.assert_array_equal(found.data, cube.transpose(1, 2, 0))
    assert found.source.notes == ()
    usual = read_projections(path, {**FIELDS, "views": 8})
    np.testing.assert_array_equal(usual.data, cube)
    assert "is taken as (slice, view, detector)" in usual.source.notes[0]


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        ((SLICES, DETECTORS, VIEWS), "with the views in the last axis"),
        ((SLICES, VIEWS + 1, DETECTORS), "there are 13 views, the geometry has 12"),
        ((VIEWS,), "no array of 2 or 3 axes"),
        ((2, 2, VIEWS, DETECTORS), "no array of 2 or 3 axes"),
    ],
)
def test_refuses_shapes(tmp_path: Path, shape: tuple[int, ...], why: str) -> None:
    with pytest.raises(MedscoreError, match=why):
        read_projections(npy(tmp_path, np.ones(shape, np.float32)), FIELDS)


def test_one_of_several_arrays_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", clean=STACK, noisy=2 * STACK)
    with pytest.raises(MedscoreError, match=r"holds 2 arrays .*: clean .* noisy .* array"):
        read_projections(tmp_path / "s.npz", FIELDS)
    with pytest.raises(MedscoreError, match=r"has no array 'noise' - set array to noisy"):
        read_projections(tmp_path / "s.npz", {**FIELDS, "array": "noise"})
    found = read_projections(tmp_path / "s.npz", {**FIELDS, "array": "noisy"})
    np.testing.assert_array_equal(found.data, 2 * STACK)


@pytest.mark.parametrize("name", ["scan.sino", "scan/sino"])
@pytest.mark.parametrize("version", ["5", "7.3"])
def test_members_of_structures_have_names(tmp_path: Path, version: str, name: str) -> None:
    if version == "5":
        scipy.io.savemat(tmp_path / "s.mat", {"scan": {"sino": STACK, "flat": STACK}})
    else:
        matlab_73(tmp_path / "s.mat", {"scan/sino": STACK})
    found = read_projections(tmp_path / "s.mat", {**FIELDS, "array": name})
    np.testing.assert_array_equal(found.data, STACK)


def test_a_sinogram_in_matlab_4_is_read(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "s.mat", {"sino": STACK[0], "note": "disc"}, format="4")
    np.testing.assert_array_equal(read_projections(tmp_path / "s.mat", FIELDS).data, STACK[:1])


def test_pickled_objects_beside_the_projections_are_passed_over(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", sino=STACK, about=np.array([{}], dtype=object))
    np.testing.assert_array_equal(read_projections(tmp_path / "s.npz", FIELDS).data, STACK)


RADIANS = [0.1 * k for k in range(VIEWS)]
ANGLES: dict[str, tuple[dict[str, Any], list[float]]] = {
    "radians": ({"angles": RADIANS, "angle_unit": "radians"}, [math.degrees(a) for a in RADIANS]),
    "few degrees": ({"angles": RADIANS, "angle_unit": "degrees"}, RADIANS),
    "clockwise": (
        {"angles": [7.0 * k for k in range(VIEWS)], "rotation": "clockwise"},
        [-7.0 * k for k in range(VIEWS)],
    ),
    "first and last": (
        {"views": VIEWS, "first_angle": 10, "last_angle": 230},
        [10 + 20.0 * k for k in range(VIEWS)],
    ),
    "clockwise views": (
        {"views": VIEWS, "rotation": "clockwise"},
        [-15.0 * k for k in range(VIEWS)],
    ),
    "first and last in radians": (
        {"views": VIEWS, "first_angle": 0, "last_angle": 1.1, "angle_unit": "radians"},
        [math.degrees(a) for a in RADIANS],
    ),
}


@pytest.mark.filterwarnings("ignore:the detector covers")
@pytest.mark.parametrize("name", ANGLES)
def test_angles_have_their_unit_and_their_sense(tmp_path: Path, name: str) -> None:
    fields, degrees = ANGLES[name]
    base = {k: v for k, v in FIELDS.items() if k != "views"}
    projections = read_projections(npy(tmp_path, STACK), {**base, **fields})
    assert projections.geometry.degrees == pytest.approx(degrees)
    made = from_projections(projections, "g.yaml")
    assert isinstance(made.operator, Radon)
    measured = made.operator.geometry.angles[made.operator.measured]
    turned = np.exp(1j * measured.numpy())
    # each measured view lies at its angle, with the values of that view of the file
    for view, angle in enumerate(np.radians(degrees)):
        place = int(np.abs(turned - np.exp(1j * angle)).argmin())
        assert abs(turned[place] - np.exp(1j * angle)) < 1e-6
        rows = made.data[:, 0, made.operator.measured.numpy()]
        np.testing.assert_array_equal(rows[:, place], STACK[:, view])


@pytest.mark.parametrize("write", [npz, hdf5])
def test_angles_may_be_an_array_of_the_file(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path, STACK)
    degrees = np.linspace(0, 165, VIEWS)
    if path.suffix == ".h5":
        with h5py.File(path, "a") as file:
            file["theta"] = np.radians(degrees)
            file["theta"].attrs["units"] = "radians"
    else:
        np.savez(path, sino=STACK, theta=np.radians(degrees))
    fields = {"beam": "parallel", "detector_spacing": PITCH, "angles": "theta"}
    if path.suffix == ".npz":  # states no unit
        with pytest.raises(MedscoreError, match="look like radians, set angle_unit to radians"):
            read_projections(path, fields)
        fields["angle_unit"] = "radians"
    found = read_projections(path, fields).geometry
    assert found.degrees == pytest.approx(degrees.tolist())


@pytest.mark.parametrize(
    ("angles", "unit", "why"),
    [
        ([0.0, 30.0, 60.0, 90.0], "radians", "more than four turns: they look like degrees"),
        ([0.26 * k for k in range(VIEWS)], None, "look like radians"),
        ([1e9] * VIEWS, "degrees", "list of degrees"),
        (["a"], None, "angles"),
        ("theta", None, "no array 'theta'"),
    ],
)
def test_refuses_angles(tmp_path: Path, angles: Any, unit: str | None, why: str) -> None:
    fields = {"beam": "parallel", "detector_spacing": PITCH, "angles": angles, "angle_unit": unit}
    with pytest.raises(MedscoreError, match=why):
        read_projections(npy(tmp_path, STACK), fields)


def exchange(path: Path, *, transposed: bool = False) -> Path:
    """A Data Exchange file of TomoPy: counts (view, slice, detector), flat and dark fields."""
    rng = np.random.default_rng(0)
    dark = rng.uniform(90, 110, (1, SLICES, DETECTORS))
    air = rng.uniform(900, 1100, (1, SLICES, DETECTORS))
    counts = dark + (air - dark) * np.exp(-STACK.transpose(1, 0, 2))
    with h5py.File(path, "w") as file:
        file["exchange/data"] = counts.astype(np.float32)
        file["exchange/data_white"] = np.concatenate([air - 5, air, air + 5]).astype(np.float32)
        file["exchange/data_dark"] = np.concatenate([dark - 1, dark + 1]).astype(np.float32)
        file["exchange/theta"] = np.linspace(0, 165, VIEWS)
        file["exchange/theta"].attrs["units"] = "degrees"
    return path


def test_counts_of_a_data_exchange_file_become_line_integrals(tmp_path: Path) -> None:
    found = read_projections(
        exchange(tmp_path / "t.h5"), {"beam": "parallel", "detector_spacing": PITCH}
    )
    np.testing.assert_allclose(found.data, STACK, atol=1e-5)
    assert found.geometry.degrees == pytest.approx(np.linspace(0, 165, VIEWS).tolist())


def test_counts_with_fields_as_numbers(tmp_path: Path) -> None:
    counts = 10 + 1000 * np.exp(-STACK)
    counts[0, 0, 0] = 10.0  # a ray without a count
    path = tiff(tmp_path, counts.astype(np.float32))
    found = read_projections(path, {**FIELDS, "flat": 1010.0, "dark": 10.0})
    np.testing.assert_allclose(found.data.ravel()[1:], STACK.ravel()[1:], atol=1e-4)
    assert found.data[0, 0, 0] == pytest.approx(math.log(1000 / 0.5))
    assert found.source.notes == ("1 rays without a count are taken as half a count",)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"values": "counts"}, "flat is not set"),
        ({"flat": 5.0, "dark": 6.0}, "not greater than the dark field"),
        ({"flat": "air"}, "has no array 'air'"),
        ({"flat": 1010.0, "values": "transmission"}, "belong to values: counts"),
        ({"flat": 1010.0, "dark": 1009.5}, "counts are not greater than the dark field"),
    ],
)
def test_refuses_counts(tmp_path: Path, fields: dict[str, Any], why: str) -> None:
    path = npy(tmp_path, (10 + 1000 * np.exp(-STACK)).astype(np.float32))
    with pytest.raises(MedscoreError, match=why):
        read_projections(path, {**FIELDS, **fields})


def test_a_scale_turns_other_units_into_line_integrals(tmp_path: Path) -> None:
    path = npy(tmp_path, 1000 * STACK)
    with pytest.raises(MedscoreError, match="look like counts"):
        read_projections(path, FIELDS)
    np.testing.assert_allclose(
        read_projections(path, {**FIELDS, "scale": 1e-3}).data, STACK, rtol=1e-6
    )


@pytest.mark.parametrize("unit", ["mm", "cm"])
@pytest.mark.parametrize("version", ["5", "7.3"])
def test_files_of_helsinki_state_their_geometry(tmp_path: Path, version: str, unit: str) -> None:
    scale = {"mm": 1.0, "cm": 0.1}[unit]
    numbers = {
        "distanceSourceOrigin": 400.0 * scale, "distanceSourceDetector": 600.0 * scale,
        "pixelSize": 0.05 * scale, "pixelSizePost": 0.3 * scale,
        "angles": 5.0 + 2.0 * np.arange(VIEWS),
    }  # fmt: skip
    path = tmp_path / "htc.mat"
    parameters = {**numbers, "distanceUnit": unit, "scanner": "Helsinki"}
    if version == "5":
        content = {"type": "2d", "sinogram": STACK[0], "parameters": parameters}
        scipy.io.savemat(path, {"CtDataLimited": content})
    else:
        members = {f"parameters/{name}": value for name, value in parameters.items()}
        members["sinogram"] = STACK[0]
        matlab_73(path, {f"CtDataLimited/{name}": value for name, value in members.items()})
    found = read_projections(path, {})
    np.testing.assert_array_equal(found.data, STACK[:1])
    geometry = found.geometry
    assert (geometry.source_distance, geometry.detector_distance) == pytest.approx((400.0, 600.0))
    assert geometry.degrees == pytest.approx(numbers["angles"].tolist())
    size, spacing = geometry.grid(DETECTORS)
    assert (size, spacing) == (9, pytest.approx(0.2))  # the detectors' pitch at the axis
    assert read_projections(path, {"size": 8}).geometry.grid(DETECTORS)[1] == pytest.approx(0.225)


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("center_of_rotation", "centre_of_rotation"), ("detector_spaceing", "detector_spacing"),
        ("theta", "angles"), ("Source-Distance", "source_distance"),
        ("slice_thickness", "slice_spacing"),
    ],
)  # fmt: skip
def test_an_unknown_key_gets_the_nearest_as_advice(tmp_path: Path, key: str, near: str) -> None:
    with pytest.raises(MedscoreError, match=f"{key}: there is no such key, did you mean '{near}'"):
        read_projections(npy(tmp_path, STACK), {**FIELDS, key: 1.0})


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, name: str, bad: float) -> None:
    values = STACK.copy()
    values[1, 2, 3] = bad
    with pytest.raises(MedscoreError, match="NaN, infinity"):
        read_projections(FORMATS[name](tmp_path, values), FIELDS)


@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_the_grid_is_as_wide_as_the_detector_sees(tmp_path: Path, offset: float) -> None:
    fields = {"beam": "fan", "views": VIEWS, "source_distance": 500.0, "detector_distance": 1000.0,
              "detector_spacing": 8.0, "detector_offset": offset}  # fmt: skip
    geometry = read_projections(npy(tmp_path, STACK), fields).geometry
    size, spacing = geometry.grid(DETECTORS)
    assert spacing == 4.0
    assert size == (9 if not offset else math.ceil((36 + 30) / 4))


@pytest.mark.filterwarnings("ignore:the detector covers")
def test_a_marked_pixel_is_found_where_it_is(tmp_path: Path) -> None:
    """A point at x = 6, y = 2 mm casts its shadow at x cos(theta) + y sin(theta)."""
    views, detectors = 90, 33
    angles = np.arange(views) * math.pi / views
    places = (np.arange(detectors) - 16) * 1.0
    shadow = np.exp(-((places - (6 * np.cos(angles) + 2 * np.sin(angles))[:, None]) ** 2))
    path = npy(tmp_path, shadow.T.astype(np.float32))
    fields = {"beam": "parallel", "views": views, "detector_spacing": 1.0}
    made = from_projections(read_projections(path, fields), path)
    image = made.operator.T_adjoint(torch.from_numpy(made.data))[0, 0]
    row, column = divmod(int(image.argmax()), image.shape[1])
    x, y, _ = (made.affine @ [column, row, 0, 1])[:3]  # RAS: x to the left in the image is +
    assert (abs(x), abs(y)) == pytest.approx((6, 2), abs=0.51)
    assert (column - 16, 16 - row) == (6, 2)

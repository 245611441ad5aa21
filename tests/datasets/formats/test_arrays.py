"""Images in NumPy and MATLAB files: values, geometry and choices by hand; no pickle is read."""

import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from array_writers import matlab_73
from numpy.typing import NDArray
from scipy.io import savemat

from medscore.datasets.formats.arrays import holds_image
from medscore.datasets.load import load_image, read_volume
from medscore.measurements.measurement import read_measurement, write_measurement
from medscore.measurements.simulation import simulate
from medscore.reconstruction.reference import reference_values

Refused = Callable[..., str]
HU = np.linspace(-1000, 1000, 3 * 8 * 10).reshape(3, 8, 10).round().astype(np.int16)
"""Three slices of 8 rows and 10 columns."""


def save(path: Path, **arrays: Any) -> Path:
    """Arrays in the format of the file's ending; "73.mat" is version 7.3."""
    if path.name.endswith("73.mat"):
        return matlab_73(path, arrays)
    if path.suffix == ".mat":
        savemat(path, arrays, do_compression=True)
    else:
        np.savez_compressed(path, **arrays)
    return path


FORMATS = pytest.mark.parametrize("name", ["a.npz", "a.mat", "a73.mat"])


@FORMATS
def test_values_spacing_and_modality_come_from_the_file(name: str, tmp_path: Path) -> None:
    path = save(tmp_path / name, image=HU, spacing=[0.5, 0.7, 3.0], modality="CT")
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.values, HU)
    assert volume.spacing == pytest.approx((0.5, 0.7, 3.0))
    assert (volume.modality, volume.source.kind) == ("CT", "array")
    np.testing.assert_allclose(volume.affine @ (4.5, 3.5, 0, 1), (0, 0, 0, 1), atol=1e-12)


@FORMATS
def test_pixel_spacings_are_those_of_rows_then_columns_as_in_dicom(
    name: str, tmp_path: Path
) -> None:
    path = save(tmp_path / name, hu=HU, pixel_spacing_mm=[[0.7, 0.5]] * 3, z_mm=[10.0, 12.5, 15.0])
    volume = read_volume(path)
    assert volume.modality == "CT"
    assert volume.spacing == pytest.approx((0.5, 0.7, 2.5))
    np.testing.assert_allclose(volume.affine[2], (0, 0, 2.5, 10.0))


def test_an_affine_maps_column_row_and_slice_to_ras(tmp_path: Path) -> None:
    affine = np.array([[-0.7, 0, 0.1, 5], [0, -0.8, 0, 6], [0, 0.1, 3, 7], [0, 0, 0, 1.0]])
    volume = read_volume(save(tmp_path / "a.npz", hu=HU, affine=affine))
    np.testing.assert_array_equal(volume.affine, affine)
    part = read_volume(tmp_path / "a.npz", slices=(1, 3))
    np.testing.assert_allclose(part.affine, volume.select(1, 3).affine)


def test_slices_that_descend_keep_their_places(tmp_path: Path) -> None:
    volume = read_volume(save(tmp_path / "a.npz", hu=HU, pixel_spacing_mm=0.5, z_mm=[9, 6, 3]))
    places = [(volume.affine @ (0, 0, k, 1))[2] for k in range(3)]
    np.testing.assert_allclose(places, (9, 6, 3))


def test_an_orientation_turns_the_slices(tmp_path: Path) -> None:
    """Coronal: rows to the left, columns to the feet; position along the normal."""
    path = save(
        tmp_path / "a.npz", image=HU + 1000, pixel_spacing_mm=[[0.7, 0.5]] * 3,
        orientation=[[1, 0, 0, 0, 0, -1]] * 3, position_mm=[1.0, 3.0, 5.0], contrast=["T1"] * 3,
    )  # fmt: skip
    volume = read_volume(path)
    assert volume.modality == "MR"
    np.testing.assert_allclose(volume.affine[:3, 0], (-0.5, 0, 0), atol=1e-12)
    np.testing.assert_allclose(volume.affine[:3, 1], (0, 0, -0.7), atol=1e-12)
    np.testing.assert_allclose(volume.affine[:3, 2], (0, -2, 0), atol=1e-12)  # LPS y is RAS -y
    assert volume.affine[1, 3] == pytest.approx(-1.0)


def test_uneven_slices_are_read_with_a_note(tmp_path: Path) -> None:
    volume = read_volume(save(tmp_path / "a.npz", hu=HU, pixel_spacing_mm=0.5, z_mm=[0, 1, 5]))
    assert "1 to 4 mm apart" in volume.source.notes[0]


@pytest.mark.parametrize(
    ("spacing", "found"),
    [(0.5, (0.5, 0.5, 0.5)), ((0.5, 0.7), (0.5, 0.7, 0.5)), ((0.5, 0.7, 3.0), (0.5, 0.7, 3.0))],
)
def test_npy_takes_its_spacing_from_the_caller(
    spacing: Any, found: tuple[float, ...], tmp_path: Path, refused: Refused
) -> None:
    np.save(tmp_path / "a.npy", HU)
    assert "set `spacing`" in refused(read_volume, tmp_path / "a.npy")
    volume = read_volume(tmp_path / "a.npy", spacing=spacing)
    np.testing.assert_array_equal(volume.values, HU)
    assert volume.spacing == pytest.approx(found)


def test_one_slice_is_a_volume_of_one(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", HU[0])
    assert read_volume(tmp_path / "a.npy", spacing=1.0).values.shape == (1, 8, 10)


def test_matlab_slices_along_the_last_axis_are_recognised(tmp_path: Path) -> None:
    path = save(tmp_path / "a.mat", hu=np.moveaxis(HU, 0, 2), spacing=1.0)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.values, HU)
    assert "last axis" in volume.source.notes[0]


@FORMATS
def test_one_of_several_arrays_is_chosen_by_name(
    name: str, tmp_path: Path, refused: Refused
) -> None:
    path = save(tmp_path / name, before=HU, after=HU[::-1], spacing=1.0)
    assert "choose one with `array`" in refused(read_volume, path)
    np.testing.assert_array_equal(read_volume(path, array="after").values, HU[::-1])
    message = refused(read_volume, path, array="other")
    assert "use one of: " in message
    assert "before 3x8x10" in message


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Slices of two patients with different pixels."""
    return save(
        tmp_path / "two.npz", hu=np.concatenate([HU, HU[:2] - 1]), patient=list("AABBA"),
        pixel_spacing_mm=[0.5, 0.5, 0.8, 0.8, 0.5], contrast=["x", "y", "x", "x", "x"],
    )  # fmt: skip


def test_an_archive_of_several_patients_asks_which(archive: Path, refused: Refused) -> None:
    assert "2 patients: A, B - choose one with `series`" in refused(read_volume, archive)
    np.testing.assert_array_equal(read_volume(archive, series="B").values[0], HU[2])
    np.testing.assert_array_equal(read_volume(archive, series="A y").values[0], HU[1])
    assert len(read_volume(archive, series="A").values) == 3
    assert "no patient of the file" in refused(read_volume, archive, series="C")
    assert "pixels of 0.5 to 0.8 mm" in refused(read_volume, archive, slices=(1, 4))
    part = read_volume(archive, slices=(1, 2))
    np.testing.assert_array_equal(part.values, HU[1:2])


@FORMATS
def test_each_slice_has_its_label_in_every_format(
    name: str, tmp_path: Path, refused: Refused
) -> None:
    path = save(
        tmp_path / name, hu=HU, patient=["a", "second", "a"], contrast="T1", pixel_spacing_mm=0.5
    )
    assert "2 patients: a, second - choose one with `series`" in refused(read_volume, path)
    volume = read_volume(path, series="second")
    np.testing.assert_array_equal(volume.values, HU[1:2])


@FORMATS
def test_what_is_no_image_is_called_as_the_file_calls_it(
    name: str, tmp_path: Path, refused: Refused
) -> None:
    path = save(tmp_path / name, hu=HU, waves=HU + 1j, word="mm", spacing=1.0)
    waves, word = ("complex128", "str") if name == "a.npz" else ("complex double", "char")
    assert f"'waves', which is {waves}" in refused(read_volume, path, array="waves")
    told = refused(read_volume, path, array="word")
    assert f"'word', which is {word}" in told
    assert "hu 3x8x10" in told
    assert "'none', which is not there" in refused(read_volume, path, array="none")


def test_matlab_4_holds_a_slice(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"hu": HU[0], "spacing": [0.5, 0.7, 3.0]}, format="4")
    volume = read_volume(tmp_path / "a.mat")
    np.testing.assert_array_equal(volume.values, HU[:1])
    assert volume.spacing == pytest.approx((0.5, 0.7, 3.0))


@pytest.mark.parametrize("name", ["a.mat", "a73.mat"])
def test_an_image_in_a_structure_is_read_by_its_name_only(
    name: str, tmp_path: Path, refused: Refused
) -> None:
    inside = {"scan/hu": HU} if name == "a73.mat" else {"scan": {"hu": HU}}
    path = save(tmp_path / name, other=HU + 1, spacing=1.0, **inside)
    np.testing.assert_array_equal(read_volume(path).values, HU + 1)
    for spelling in ("scan.hu", "scan/hu"):
        np.testing.assert_array_equal(read_volume(path, array=spelling).values, HU)
    assert "'scan', which is struct" in refused(read_volume, path, array="scan")


@pytest.mark.parametrize("options", [{"slices": "1:3"}, {"series": "B"}, {}])
def test_a_reference_is_read_as_the_measured_image_was(
    options: dict[str, str], tmp_path: Path
) -> None:
    hu = np.random.default_rng(0).uniform(-1000, 500, (6, 16, 16)).astype(np.float32)
    who = list("AABBAA") if "series" in options else list("AAAAAA")
    path = save(tmp_path / "a.npz", volume=hu, other=hu + 1, patient=who)
    volume = load_image(path, modality="CT", spacing=(1.0, 1.0, 2.0), array="other", **options)
    write_measurement(tmp_path / "m.h5", simulate(volume, "sparse-ct", views=8))
    m = read_measurement(tmp_path / "m.h5")
    found = reference_values(path, m)
    np.testing.assert_array_equal(found, volume.values)


@pytest.mark.parametrize(
    ("arrays", "why"),
    [({"hu": HU, "spacing": -1.0}, "millimetres, above 0"), ({"hu": HU + 1j}, "holds no array"),
     ({"hu": HU, "spacing": np.nan}, "above 0"), ({"hu": HU * np.nan, "spacing": 1.0}, "NaN"),
     ({"hu": np.zeros((3, 8, 8)), "spacing": 1.0}, "constant"), ({"x": HU[0, 0]}, "holds no array"),
     ({"hu": HU, "affine": np.zeros((4, 4))}, "affine"),
     ({"hu": HU, "affine": np.eye(3)}, "affine"),
     ({"hu": HU, "spacing": [1, 2, 3, 4]}, "spacing"),
     ({"hu": HU[:0], "spacing": 1.0}, "no pixels")],
)  # fmt: skip
def test_what_is_no_image_with_its_geometry_is_refused(
    arrays: dict[str, Any], why: str, tmp_path: Path, refused: Refused
) -> None:
    assert why in refused(read_volume, save(tmp_path / "a.npz", **arrays))


def test_a_spacing_is_not_stated_twice(tmp_path: Path, refused: Refused) -> None:
    path = save(tmp_path / "a.npz", hu=HU, spacing=1.0)
    assert "the file states spacing" in refused(read_volume, path, spacing=1.0)


def test_pickled_objects_are_passed_over(tmp_path: Path, refused: Refused) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "trapped",))

    trap: NDArray[Any] = np.array([Trap(), Trap()], dtype=object)
    np.savez(tmp_path / "a.npz", hu=HU, spacing=1.0, about=trap)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.npz").values, HU)
    np.savez(tmp_path / "b.npz", hu=trap)
    refused(read_volume, tmp_path / "b.npz")
    np.save(tmp_path / "c.npy", trap, allow_pickle=True)
    refused(read_volume, tmp_path / "c.npy", spacing=1.0)
    assert not (tmp_path / "trapped").exists()


def test_more_than_the_budget_is_refused(
    tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = np.zeros((4, 512, 512), np.uint8)
    paths = [save(tmp_path / name, hu=big, spacing=1.0) for name in ("a.npz", "a.mat", "a73.mat")]
    monkeypatch.setenv("MEDSCORE_MEMORY", "1M")
    for path in paths:
        assert "memory budget" in refused(read_volume, path)


def test_declared_slices_take_no_memory(tmp_path: Path, refused: Refused) -> None:
    """A header of a few bytes can declare a billion slices, whose indices alone take gigabytes."""
    path = tmp_path / "a.mat"
    savemat(path, {"hu": HU, "spacing": 1.0})
    content = path.read_bytes()
    dims = struct.pack("<3i", *HU.shape)
    assert content.count(dims) == 1
    path.write_bytes(content.replace(dims, struct.pack("<3i", 2**30, *HU.shape[1:])))
    tracemalloc.start()
    told = refused(read_volume, path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "memory budget" in told
    assert peak < 2**26


@pytest.mark.parametrize(
    ("values", "image"), [(HU, True), (HU[0], True), (HU + 1j, False), (HU[None], False)]
)
def test_real_arrays_of_two_or_three_axes_are_images(
    values: NDArray[Any], image: bool, tmp_path: Path
) -> None:
    """Others are k-space, which is measured."""
    np.save(tmp_path / "a.npy", values)
    assert holds_image(tmp_path / "a.npy") is image
    assert holds_image(save(tmp_path / "a.npz", any=values)) is image
    assert holds_image(save(tmp_path / "a.mat", any=values)) is image
    assert holds_image(save(tmp_path / "a73.mat", any=values)) is image


def test_a_damaged_archive_is_for_the_reader_of_images(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "a.npz").write_bytes(b"PK")
    assert holds_image(tmp_path / "a.npz")
    assert "cannot be read as NumPy arrays" in refused(read_volume, tmp_path / "a.npz")

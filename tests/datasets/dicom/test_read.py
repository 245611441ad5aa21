"""Reading DICOM: values in HU, world coordinates, order of slices."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.pixels import apply_rescale

from medscore.datasets.dicom.form import is_dicom
from medscore.datasets.dicom.read import read_dicom
from medscore.datasets.volume import AIR

Bundled = Callable[[str], Path]
WriteSlice = Callable[..., Path]
TILTED = [1, 0, 0, 0, 0.8, -0.6]


def _ras(dataset: pydicom.Dataset, column: float, row: float) -> NDArray[np.float64]:
    """DICOM PS3.3 Equation C.7.6.2.1-1, then LPS to RAS."""
    cosines = np.array(dataset.ImageOrientationPatient, dtype=float)
    row_mm, column_mm = dataset.PixelSpacing
    lps = np.array(dataset.ImagePositionPatient, dtype=float)
    lps = lps + cosines[:3] * column_mm * column + cosines[3:] * row_mm * row
    return lps * (-1, -1, 1)


def test_values_are_the_rescaled_pixels(bundled: Bundled) -> None:
    ds = pydicom.dcmread(bundled("CT_small.dcm"))
    expected = apply_rescale(ds.pixel_array, ds)
    expected[ds.pixel_array == ds.PixelPaddingValue] = AIR
    np.testing.assert_allclose(read_dicom(bundled("CT_small.dcm")).values[0], expected)


@pytest.mark.parametrize("name", ["693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm"])
def test_compressed_ct_is_read_in_hounsfield_units(bundled: Bundled, name: str) -> None:
    values = read_dicom(bundled(name)).values
    assert values.shape == (1, 512, 512)
    assert values.dtype == np.float32
    assert values.min() <= -1000
    assert 700 < values.max() < 4000
    assert (abs(values) < 100).mean() > 0.05


@pytest.mark.parametrize("name", ["693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm", "MR_small.dcm"])
def test_spacing_and_modality_are_the_headers(bundled: Bundled, name: str) -> None:
    ds, volume = pydicom.dcmread(bundled(name)), read_dicom(bundled(name))
    row_mm, column_mm = ds.PixelSpacing
    step = ds.get("SpacingBetweenSlices") or ds.SliceThickness
    np.testing.assert_allclose(volume.spacing, (column_mm, row_mm, step), rtol=1e-4)
    assert volume.modality == ds.Modality


@pytest.mark.parametrize("name", ["693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm", "CT_small.dcm"])
def test_voxel_corners_lie_where_the_header_puts_them(bundled: Bundled, name: str) -> None:
    ds, affine = pydicom.dcmread(bundled(name)), read_dicom(bundled(name)).affine
    for column in (-0.5, ds.Columns - 0.5):
        for row in (-0.5, ds.Rows - 0.5):
            ours = (affine @ (column, row, 0, 1))[:3]
            np.testing.assert_allclose(ours, _ras(ds, column, row), atol=1e-6)


def test_rows_and_columns_are_not_swapped(write_slice: WriteSlice, ramp: NDArray[np.int64]) -> None:
    volume = read_dicom(write_slice("a.dcm", ramp))
    assert np.array_equal(volume.values[0], ramp)
    assert volume.spacing == (0.5, 0.8, 2.5)


def test_padding_becomes_air(write_slice: WriteSlice, ramp: NDArray[np.int64]) -> None:
    padded = ramp.copy()
    padded[0] = -5120
    volume = read_dicom(write_slice("a.dcm", padded, PixelPaddingValue=-2048))
    assert (volume.values[0, 0] == AIR).all()
    assert np.array_equal(volume.values[0, 1:], ramp[1:])
    assert "air" in volume.source.notes[0]


@pytest.mark.parametrize("orientation", [[1, 0, 0, 0, 1, 0], TILTED, [0, 1, 0, 0, 0, -1]])
def test_a_shuffled_series_is_sorted_along_the_normal(
    write_slice: WriteSlice, ramp: NDArray[np.int64], orientation: list[float]
) -> None:
    normal = np.cross(orientation[:3], orientation[3:])
    for name, k in {"a": 2, "b": 0, "c": 3, "d": 1}.items():
        position = [f"{v:.6g}" for v in normal * 2.5 * k + (-10, -20, 5)]
        path = write_slice(
            f"{name}.dcm", ramp + 100 * k,
            ImagePositionPatient=position, ImageOrientationPatient=orientation,
        )  # fmt: skip
    volume = read_dicom(path.parent)
    np.testing.assert_array_equal(volume.values[:, 0, 0], ramp[0, 0] + 100 * np.arange(4))
    expected = normal * 2.5 * (-1, -1, 1)
    np.testing.assert_allclose(volume.affine[:3, 2], expected, atol=1e-6)


def test_instances_follow_the_sorted_slices(
    write_slice: WriteSlice, ramp: NDArray[np.int64]
) -> None:
    upper = write_slice("a.dcm", ramp, ImagePositionPatient=[0, 0, 9])
    lower = write_slice("b.dcm", ramp, ImagePositionPatient=[0, 0, 6])
    expected = tuple(str(pydicom.dcmread(path).SOPInstanceUID) for path in (lower, upper))
    assert read_dicom(upper.parent).source.instances == expected


def test_other_files_in_the_folder_are_passed_over(
    write_slice: WriteSlice, ramp: NDArray[np.int64]
) -> None:
    path = write_slice("a.dcm", ramp)
    (path.parent / "notes.txt").write_text("not an image")
    assert len(read_dicom(path.parent).values) == 1


def test_what_pydicom_warns_of_becomes_a_note(bundled: Bundled) -> None:
    notes = read_dicom(bundled("MR_small_padded.dcm")).source.notes
    assert any("128 bytes of excess padding" in note for note in notes)


def test_the_hash_depends_on_the_pixels(write_slice: WriteSlice, ramp: NDArray[np.int64]) -> None:
    one = read_dicom(write_slice("a.dcm", ramp)).source.sha256
    assert one != read_dicom(write_slice("a.dcm", ramp + 2)).source.sha256


def test_dicom_is_known_by_its_marker(bundled: Bundled, tmp_path: Path) -> None:
    (tmp_path / "x.dcm").write_bytes(b"DICM")
    assert is_dicom(bundled("CT_small.dcm"))
    assert not is_dicom(tmp_path / "x.dcm")

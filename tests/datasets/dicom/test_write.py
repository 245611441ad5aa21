"""Written DICOM: same values and position, references to the source, no patient identity."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from numpy.typing import NDArray
from pydicom.uid import UID

from medscore.datasets.dicom.read import read_dicom
from medscore.datasets.dicom.write import write_dicom_series
from medscore.datasets.volume import Source, Volume

AFFINE = np.array(
    [[-0.7, 0, 0, 91.25], [0, -0.56, -0.42, -50.5], [0, -0.42, 0.56, 7.125], [0, 0, 0, 1]]
) @ np.diag([1, 1, 4, 1])
SOURCE = Source(
    "dicom",
    "ab" * 32,
    {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.4", "FrameOfReferenceUID": "1.2.5"},
    ("1.2.3.1", "1.2.3.2", "1.2.3.3"),
)


def _write(folder: Path, values: NDArray[np.float32], source: Source = SOURCE) -> Path:
    folder.mkdir()
    write_dicom_series(folder, values, AFFINE, source, description="test", version="0.1")
    return folder


@pytest.fixture(scope="module")
def values() -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(-1024, 3000, (3, 9, 7)).astype(np.float32)


@pytest.fixture(scope="module")
def series(values: NDArray[np.float32], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write(tmp_path_factory.mktemp("dicom") / "out", values)


@pytest.fixture(scope="module")
def headers(series: Path) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(path) for path in sorted(series.iterdir())]


@pytest.fixture(scope="module")
def volume(series: Path) -> Volume:
    return read_dicom(series)


def test_values_read_back_to_half_a_step(volume: Volume, values: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(volume.values, values, rtol=0, atol=0.0505)


def test_another_toolkit_reads_the_same_values_in_the_same_place(
    series: Path, volume: Volume
) -> None:
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series)))
    image = reader.Execute()
    np.testing.assert_allclose(SimpleITK.GetArrayFromImage(image), volume.values, atol=1e-3)
    for voxel in ((0, 0, 0), (6, 0, 0), (0, 8, 0), (6, 8, 2)):
        lps = image.TransformIndexToPhysicalPoint(voxel)
        ours = (volume.affine @ (*voxel, 1))[:3] * (-1, -1, 1)
        np.testing.assert_allclose(ours, lps, atol=1e-4)


def test_the_series_reads_back_in_place(volume: Volume) -> None:
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-6)


def test_one_slice_reads_back_in_place(values: NDArray[np.float32], tmp_path: Path) -> None:
    one = read_dicom(_write(tmp_path / "one", values[:1]))
    np.testing.assert_allclose(one.affine, AFFINE, atol=1e-6)


def test_values_beyond_the_stored_range_are_clipped_not_wrapped(tmp_path: Path) -> None:
    extreme = np.array([[[-5000.0, 1e6], [0.0, 1.0]]], np.float32)
    found = read_dicom(_write(tmp_path / "clip", extreme)).values[0, 0]
    np.testing.assert_allclose(found, (-1024, 326651), atol=1e-3)


@pytest.mark.parametrize(("largest", "step"), [(5529, 0.1), (8000, 0.2), (31000, 0.5), (64000, 1)])
def test_metal_is_kept_in_the_finest_steps_that_reach_it(
    largest: float, step: float, tmp_path: Path
) -> None:
    bright = np.array([[[-1000.0, largest - 0.04], [0.0, 51.3]]], np.float32)
    folder = _write(tmp_path / "metal", bright)
    assert pydicom.dcmread(folder / "0001.dcm").RescaleSlope == step
    np.testing.assert_allclose(read_dicom(folder).values, bright, atol=0.5 * step + 0.01)


def test_images_say_that_they_are_derived(headers: list[pydicom.Dataset]) -> None:
    assert {tuple(ds.ImageType) for ds in headers} == {("DERIVED", "SECONDARY", "AXIAL")}


def test_each_slice_refers_to_its_source(headers: list[pydicom.Dataset]) -> None:
    found = [ds.SourceImageSequence[0].ReferencedSOPInstanceUID for ds in headers]
    assert found == list(SOURCE.instances)


def test_a_source_without_instances_is_not_referred_to(
    values: NDArray[np.float32], tmp_path: Path
) -> None:
    folder = _write(tmp_path / "x", values, Source("dicom", "cd"))
    assert "SourceImageSequence" not in pydicom.dcmread(folder / "0001.dcm")


def test_a_series_without_patient_is_of_a_study_of_its_own(
    headers: list[pydicom.Dataset], values: NDArray[np.float32], tmp_path: Path
) -> None:
    """A PACS refuses, or files under the wrong patient, a known study with another PatientID."""
    (study,) = {ds.StudyInstanceUID for ds in headers}
    assert study != "1.2.3"
    other = replace(SOURCE, sha256="cd" * 32)  # of the same study
    again = pydicom.dcmread(_write(tmp_path / "again", values, other) / "0001.dcm")
    assert again.StudyInstanceUID == study


def test_with_its_patient_a_series_is_of_the_sources_study(
    values: NDArray[np.float32], tmp_path: Path
) -> None:
    write_dicom_series(
        tmp_path, values, AFFINE, SOURCE, description="test", version="0.1",
        identity={"PatientID": "7"},
    )  # fmt: skip
    ds = pydicom.dcmread(tmp_path / "0001.dcm")
    assert (ds.StudyInstanceUID, ds.PatientID, ds.PatientIdentityRemoved) == ("1.2.3", "7", "NO")


def test_the_frame_of_reference_is_the_sources_series_and_instances_are_new(
    headers: list[pydicom.Dataset],
) -> None:
    assert {ds.FrameOfReferenceUID for ds in headers} == {"1.2.5"}
    assert len({ds.SeriesInstanceUID for ds in headers} - {"1.2.4"}) == 1
    assert len({ds.SOPInstanceUID for ds in headers} - set(SOURCE.instances)) == 3


def test_identifiers_are_valid(headers: list[pydicom.Dataset]) -> None:
    for ds in headers:
        assert UID(ds.SOPInstanceUID).is_valid
        assert UID(ds.SeriesInstanceUID).is_valid
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID


def test_equal_content_gives_equal_files(
    series: Path, values: NDArray[np.float32], tmp_path: Path
) -> None:
    again = _write(tmp_path / "again", values)
    names = sorted(path.name for path in series.iterdir())
    assert names == ["0001.dcm", "0002.dcm", "0003.dcm"]
    assert all((again / n).read_bytes() == (series / n).read_bytes() for n in names)


def test_other_content_gets_other_identifiers(
    headers: list[pydicom.Dataset], values: NDArray[np.float32], tmp_path: Path
) -> None:
    changed = values.copy()
    changed[-1, -1, -1] += 10  # the last pixel of the last slice; the first slice is the same
    other = pydicom.dcmread(_write(tmp_path / "other", changed) / "0001.dcm")
    assert other.SOPInstanceUID != headers[0].SOPInstanceUID
    assert other.SeriesInstanceUID != headers[0].SeriesInstanceUID


def test_no_patient_identity_gets_out(write_slice: Callable[..., Path], tmp_path: Path) -> None:
    hu = np.arange(256).reshape(16, 16) * 4 - 1000
    source = read_dicom(write_slice("a.dcm", hu, PatientBirthDate="19510203"))
    folder = tmp_path / "out"
    folder.mkdir()
    write_dicom_series(
        folder, source.values, source.affine, source.source, description="test", version="0.1"
    )
    ds = pydicom.dcmread(folder / "0001.dcm")
    assert (ds.PatientName, ds.PatientID, ds.PatientBirthDate) == ("", "", "")
    content = (folder / "0001.dcm").read_bytes()
    assert not any(secret in content for secret in (b"Zyxwvut", b"Qponml", b"19510203"))


def test_spacing_is_not_passed_off_as_thickness(headers: list[pydicom.Dataset]) -> None:
    assert headers[0].SliceThickness is None
    assert headers[0].SpacingBetweenSlices == pytest.approx(2.8)


@pytest.mark.parametrize(
    ("top", "step"), [(3000.0, 0.1), (5529.0, 0.1), (8000.0, 0.2), (20_000.0, 0.5), (6e4, 1.0)]
)
def test_metal_is_stored_in_the_finest_step_that_holds_it(
    tmp_path: Path, top: float, step: float
) -> None:
    found = _write(tmp_path / "metal", np.array([[[-1000.0, top], [40.3, 1.0]]], np.float32))
    assert pydicom.dcmread(found / "0001.dcm").RescaleSlope == step
    written = read_dicom(found).values[0]
    np.testing.assert_allclose(written, [[-1000, top], [40.3, 1]], atol=step / 2 + 1e-3)

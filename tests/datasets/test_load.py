"""One entry for images: every way to read a file gives the same values, errors and notes."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from medscore.datasets.collections.cohort import read_cohort
from medscore.datasets.collections.slices import load_slices
from medscore.datasets.dicom.identity import read_identity
from medscore.datasets.dicom.uids import is_valid
from medscore.datasets.load import load_image, read_volume
from medscore.datasets.volume import Volume
from medscore.errors import MedscoreError
from medscore.measurements.measurement import read_measurement, write_measurement
from medscore.measurements.simulation import simulate

WriteSlice = Callable[..., Path]
SIDE, MM = 16, 0.75


def hounsfield(slices: int) -> NDArray[np.int64]:
    """Even values, which the stored integers represent exactly, with air in every slice."""
    hu = np.random.default_rng(0).integers(-500, 750, (slices, SIDE, SIDE)) * 2
    hu[:, 0, 0] = -1000
    return hu


@pytest.fixture
def scan(tmp_path: Path, write_slice: WriteSlice) -> Path:
    """The same slices as a DICOM series, as its first file, and as NIfTI."""
    hu, folder = hounsfield(3), tmp_path / "dicom"
    folder.mkdir()
    for k, image in enumerate(hu):
        made = write_slice(
            f"{k}.dcm", image, PixelSpacing=[MM, MM], ImagePositionPatient=["0", "0", f"{2.5 * k}"]
        )
        made.rename(folder / made.name)
    affine = np.diag([-MM, -MM, 2.5, 1.0])
    for name, values in (("series.nii.gz", hu), ("one.nii.gz", hu[:1])):
        image = nib.Nifti1Image(values.transpose(2, 1, 0).astype(np.int16), affine)
        nib.save(image, tmp_path / name)
    return tmp_path


def trained_on(root: Path, *patterns: str) -> NDArray[np.float64]:
    """HU of the training slices, undone from the range of the network."""
    found = load_slices(patterns, root=root, side=SIDE, low=-1000.0, high=1500.0)
    return found.images.double().numpy() * 2500 - 1000


def evaluated_on(root: Path, *patterns: str) -> NDArray[np.float32]:
    cases = read_cohort(patterns, root=root, modality="CT", size=SIDE)
    return np.concatenate([case.volume.values for case in cases])


@pytest.mark.parametrize(
    ("name", "slices"),
    [("dicom", 3), ("series.nii.gz", 3), ("dicom/0.dcm", 1), ("one.nii.gz", 1), ("dicom/*.dcm", 3)],
)
def test_every_reader_gives_the_same_values(scan: Path, name: str, slices: int) -> None:
    expected = hounsfield(3)[:slices]
    if "*" not in name:
        np.testing.assert_array_equal(load_image(scan / name).values, expected)
    np.testing.assert_array_equal(evaluated_on(scan, name), expected)
    # float16 in the range of the network: 2500 HU in steps of 2^-11 at most
    np.testing.assert_allclose(trained_on(scan, name), expected, atol=2500 * 2**-12 + 1e-6)


def test_every_reader_passes_the_same_arrays_on(
    scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loaders receive the values of ``load_image``, before their own scaling."""
    from medscore.datasets import load
    from medscore.datasets.collections import cohort, slices

    seen: list[NDArray[np.float32]] = []

    def spy(*args: object, **options: object) -> list[Volume]:
        volumes = load.read_scan(*args, **options)  # type: ignore[arg-type]
        seen.extend(volume.values for volume in volumes)
        return volumes

    for module in (cohort, slices):
        monkeypatch.setattr(module, "read_scan", spy)
    for name in ("dicom", "series.nii.gz"):
        trained_on(scan, name)
        evaluated_on(scan, name)
        assert len(seen) == 2
        for values in seen:
            np.testing.assert_array_equal(values, load_image(scan / name).values)
        seen.clear()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"Modality": "MR"}, "the modality is MR"),
        ({"RescaleIntercept": 0}, "Hounsfield"),
        ({"PixelSpacing": None}, "PixelSpacing"),
        ({"SamplesPerPixel": 3}, "colour"),
    ],
)
def test_every_reader_refuses_alike(
    tmp_path: Path, write_slice: WriteSlice, changes: dict[str, object], why: str
) -> None:
    write_slice("a.dcm", hounsfield(1)[0], **{"PixelSpacing": [MM, MM], **changes})
    root = tmp_path / "series"
    said = set()
    for read in (
        lambda: load_image(root / "a.dcm", modality="CT"),
        lambda: trained_on(root, "a.dcm"),
        lambda: evaluated_on(root, "a.dcm"),
    ):
        with pytest.raises(MedscoreError, match=why) as caught:
            read()
        said.add(str(caught.value))
    assert len(said) == 1


def test_notes_reach_the_user_of_every_reader(
    tmp_path: Path, write_slice: WriteSlice, caplog: pytest.LogCaptureFixture
) -> None:
    """A tilted gantry is noted once for the scan, also when its slices come from the cache."""
    for k, image in enumerate(hounsfield(3)):
        place = ["0", f"{0.5 * k}", f"{2.5 * k}"]
        write_slice(f"{k}.dcm", image, PixelSpacing=[MM, MM], ImagePositionPatient=place)
    (note,) = load_image(tmp_path / "series").source.notes
    assert "gantry" in note
    options = {"root": tmp_path, "side": SIDE, "low": -1000.0, "high": 1500.0}
    for _ in range(2):
        found = load_slices(["series"], cache=tmp_path / "cache", **options)  # type: ignore[arg-type]
        assert found.notes == (note,)
    cases = read_cohort(["series"], root=tmp_path, modality="CT", size=SIDE)
    assert {case.volume.source.notes for case in cases} == {(note,)}
    with caplog.at_level(logging.WARNING):
        caplog.clear()
        evaluated_on(tmp_path, "series")
        trained_on(tmp_path, "series")
    assert [record.getMessage() for record in caplog.records] == [f"series: {note}"] * 2


def test_a_slice_without_air_is_judged_by_its_scan(tmp_path: Path, write_slice: WriteSlice) -> None:
    hu = hounsfield(2)
    hu[1] = np.abs(hu[1])
    for k, image in enumerate(hu):
        write_slice(f"{k}.dcm", image, PixelSpacing=[MM, MM])
    np.testing.assert_array_equal(evaluated_on(tmp_path, "series/*.dcm"), hu)
    with pytest.raises(MedscoreError, match="shows air"):
        evaluated_on(tmp_path, "series/1.dcm")


@pytest.mark.parametrize("as_text", [True, False])
def test_paths_may_be_text(scan: Path, as_text: bool) -> None:
    path = str(scan / "series.nii.gz") if as_text else scan / "series.nii.gz"
    assert load_image(path).values.shape == read_volume(path).values.shape == (3, SIDE, SIDE)


def test_size_and_slices_and_modality_are_applied(scan: Path) -> None:
    found = load_image(scan / "dicom", size=8, slices=(1, 3), modality="CT")
    expected = hounsfield(3)[1:].reshape(2, 8, 2, 8, 2).mean((2, 4))
    np.testing.assert_allclose(found.values, expected, atol=1e-3)
    assert found.spacing == pytest.approx((2 * MM, 2 * MM, 2.5))
    assert load_image(scan / "series.nii.gz", slices="0:1").modality == "CT"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"size": 4}, "`size` is 4"),
        ({"size": 17}, "`size` is 17, the slices are 16x16"),
        ({"slices": "2:9"}, "`slices` is '2:9', the volume has 3 slices"),
        ({"slices": (1, 1)}, "`slices` is"),
        ({"modality": "MR"}, "the modality is CT, MR is required"),
        ({"series": "lung"}, "0 series"),
    ],
)
def test_refuses_parameters(scan: Path, options: dict[str, object], why: str) -> None:
    with pytest.raises(MedscoreError, match=why):
        load_image(scan / "dicom", **options)  # type: ignore[arg-type]


def test_slices_and_pixels_that_are_not_square_are_read_as_they_are(tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(5, 9, (12, 16, 2)).astype(np.float32)
    nib.save(nib.Nifti1Image(values, np.diag([-1.0, -2, 3, 1])), tmp_path / "any.nii")
    assert read_volume(tmp_path / "any.nii").modality == "unknown"
    volume = load_image(tmp_path / "any.nii")
    assert volume.values.shape == (2, 16, 12)
    assert volume.spacing == (1, 2, 3)


def test_a_size_makes_them_square(tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(5, 9, (12, 16, 2)).astype(np.float32)
    nib.save(nib.Nifti1Image(values, np.diag([-1.0, -2, 3, 1])), tmp_path / "any.nii")
    volume = load_image(tmp_path / "any.nii", size=8)
    assert volume.values.shape == (2, 8, 8)
    assert volume.spacing == pytest.approx((4, 4, 3))
    assert (volume.values[:, :, 0] == 0).all()  # 12 mm in the middle of 32 mm
    np.testing.assert_allclose(volume.values[:, :, 3:5].sum(), values[2:10].sum() / 8, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("dicom/0.dcm", {"channel": 5}, "`channel` is 5, which applies to 4-D NIfTI"),
        ("dicom/0.dcm", {"channel": "a"}, "`channel` is 'a' - use a whole number"),
        ("dicom/0.dcm", {"series": "nope"}, "`series` is 'nope', which applies to folders"),
        ("one.nii.gz", {"series": "nope"}, "`series` is 'nope', which applies to folders"),
        ("one.nii.gz", {"size": 8.5}, "`size` is 8.5 - use a whole number"),
        ("one.nii.gz", {"size": "8"}, "`size` is '8'"),
    ],
)
def test_options_that_do_not_apply_are_refused(
    scan: Path, name: str, options: dict[str, Any], why: str
) -> None:
    with pytest.raises(MedscoreError, match=why):
        load_image(scan / name, **options)


def test_a_path_must_be_given() -> None:
    with pytest.raises(MedscoreError, match="`path` is None"):
        load_image(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "choice"),
    [
        ("series.nii.gz", {"channel": 0}),
        ("series.nii.gz", {"resample": True}),
        ("series.nii.gz", {"series": "x"}),
        ("dicom", {"channel": 0}),
        ("dicom/0.dcm", {"channel": 0}),
        ("dicom/0.dcm", {"series": "x"}),
    ],
)
def test_a_choice_that_a_file_does_not_have_is_refused(
    scan: Path, name: str, choice: dict[str, Any]
) -> None:
    with pytest.raises(MedscoreError, match=f"`{next(iter(choice))}` is .*, which applies to"):
        load_image(scan / name, **choice)


@pytest.mark.parametrize("choice", [{"series": 3}, {"resample": "yes"}, {"channel": 1.5}])
def test_a_choice_of_the_wrong_type_is_refused(scan: Path, choice: dict[str, Any]) -> None:
    with pytest.raises(MedscoreError, match=f"`{next(iter(choice))}`"):
        load_image(scan / "dicom", **choice)


def test_a_spacing_that_no_file_needs_is_refused(scan: Path) -> None:
    with pytest.raises(MedscoreError, match="every file states its pixel spacing"):
        read_cohort(["dicom"], root=scan, modality="CT", size=SIDE, spacing_mm=0.5)


@pytest.mark.parametrize(
    "uid", ["1.02.3", "1." + "2" * 70, "1.2\0.3", "1.2.abc", "1..2", "1.2.3 \0"]
)
def test_identifiers_of_wrong_form_are_replaced_alike_everywhere(
    tmp_path: Path, write_slice: WriteSlice, uid: str
) -> None:
    """They reach measurements and derived DICOM, which require valid ones (PS3.5 9.1)."""
    with pydicom.config.disable_value_validation():
        path = write_slice(
            "a.dcm", hounsfield(1)[0], PixelSpacing=[MM, MM], StudyInstanceUID=uid,
            SeriesInstanceUID=uid, FrameOfReferenceUID=uid, SOPInstanceUID=uid,
        )  # fmt: skip
    volume = load_image(path)
    uids = {name: uid for name, uid in volume.source.uids.items() if name != "SOPClassUID"}
    found = {*uids.values(), *volume.source.instances}
    assert len(found) == 1
    assert all(is_valid(one) for one in found)
    assert any("no valid form" in note for note in volume.source.notes) == (uid[:5] != "1.2.3")
    write_measurement(tmp_path / "m.h5", simulate(volume, "sparse-ct", views=3))
    read_measurement(tmp_path / "m.h5")
    assert read_identity(path, volume.source)["PatientID"] == "Qponml-77"

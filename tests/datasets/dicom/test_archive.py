"""Zip archives and DICOMDIR: the same images as the folders, and nothing else on the disk."""

import stat
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.fileset import FileSet

from medscore.datasets.dicom.dicomdir import indexed_files, is_dicomdir
from medscore.datasets.dicom.files import list_series
from medscore.datasets.dicom.identity import read_identity
from medscore.datasets.dicom.read import read_dicom
from medscore.datasets.load import is_image, load_image, read_volume

Refused = Callable[..., str]


@pytest.fixture
def series(write_slice: Callable[..., Path]) -> Path:
    """Two series of three slices each, in folders."""
    for number, name in enumerate(("thin", "thick")):
        for k in range(3):
            hu = np.full((16, 16), -1000)
            hu[4:12, 4:12] = 2 * (20 * number + k)
            place = write_slice(f"{name}-{k}.dcm", hu, SeriesInstanceUID=f"1.2.{number + 1}",
                                SeriesDescription=name, PixelSpacing=[0.8, 0.8], InstanceNumber=k,
                                SeriesNumber=number, StudyID="1", PatientID="Q",
                                StudyDate="20200101", StudyTime="120000",
                                ImagePositionPatient=[0, 0, 2.5 * k])  # fmt: skip
            folder = place.parent.parent / "export" / name
            folder.mkdir(parents=True, exist_ok=True)
            place.rename(folder / place.name)
    return folder.parent


def zipped(folder: Path) -> Path:
    """The folder as an archive beside it."""
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, f"{folder.name}/{path.relative_to(folder)}")
    return folder.with_suffix(".zip")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of temporary files, which must be empty in the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.glob("medscore-*")) == []


def test_an_archive_reads_as_its_folder_does(series: Path) -> None:
    one, other = (read_volume(path, series="thick") for path in (zipped(series), series))
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.affine, other.affine)
    assert one.source == other.source
    assert is_image(series.with_suffix(".zip"))
    assert load_image(series.with_suffix(".zip"), series="thin", size=8).modality == "CT"


def test_the_series_of_an_archive_are_listed(series: Path, refused: Refused) -> None:
    path = zipped(series)
    assert [str(s) for s in list_series(path)] == ["'thin' (CT, 3 files)", "'thick' (CT, 3 files)"]
    assert "2 series in this folder: 'thin'" in refused(read_dicom, path)


def test_the_identity_of_an_archive_can_be_kept(series: Path) -> None:
    path = zipped(series)
    found = read_identity(path, read_volume(path, series="thin").source)
    assert (found["PatientID"], found["StudyDate"]) == ("Q", "20200101")


def test_messages_name_the_archive_and_its_member(series: Path, refused: Refused) -> None:
    file = series / "thin" / "thin-1.dcm"
    file.write_bytes(file.read_bytes()[:-100])
    message = refused(read_dicom, zipped(series), series="thin")
    assert "export/thin/thin-1.dcm: the pixels cannot be decoded" in message
    assert "medscore-" not in message.replace(str(series), "")


def add(path: Path, name: str, content: bytes = b"x", mode: int = 0, **fields: Any) -> Path:
    """Add a member to an archive."""
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    info.compress_type = fields.get("method", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(info, content)
    return path


@pytest.mark.parametrize(
    ("name", "fields", "why"),
    [("../../escaped.dcm", {}, "leads out of the archive"), ("/escaped.dcm", {}, "leads out"),
     ("a/../../escaped.dcm", {}, "leads out"), ("C:\\escaped.dcm", {}, "leads out"),
     ("link.dcm", {"mode": stat.S_IFLNK | 0o777, "content": b"/etc/passwd"}, "is a link"),
     ("pipe.dcm", {"mode": stat.S_IFIFO | 0o777}, "is a link or a device"),
     ("a.dcm", {"method": zipfile.ZIP_LZMA}, "another method than deflate")],
)  # fmt: skip
def test_members_that_lead_elsewhere_are_refused(
    series: Path, tmp_path: Path, refused: Refused, name: str, fields: dict[str, Any], why: str
) -> None:
    assert why in refused(read_dicom, add(zipped(series), name, **fields), series="thin")
    assert not list(tmp_path.rglob("*escaped*"))


def test_bombs_are_refused_before_unpacking(
    series: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = add(zipped(series), "big.dcm", bytes(2**21))
    monkeypatch.setenv("MEDSCORE_MEMORY", "1M")
    assert "more than the memory budget" in refused(read_dicom, path, series="thin")
    lying = path.read_bytes().replace((2**21).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    path.write_bytes(lying)
    refused(read_dicom, path, series="thin")


def test_an_archive_in_an_archive_is_not_opened(
    series: Path, tmp_path: Path, refused: Refused
) -> None:
    inner = zipped(series).read_bytes()
    outer = tmp_path / "outer.zip"
    add(outer, "inner.zip", inner)
    assert "no DICOM file" in refused(read_dicom, outer)


def test_a_damaged_archive_is_refused(series: Path, refused: Refused) -> None:
    path = zipped(series)
    path.write_bytes(path.read_bytes()[:-30])
    assert "cannot be read as a zip archive" in refused(read_dicom, path)


@pytest.fixture
def medium(series: Path, tmp_path: Path) -> Path:
    """The series on a medium with an index."""
    files = FileSet()
    for path in sorted(series.rglob("*.dcm")):
        files.add(path)
    files.write(tmp_path / "medium")
    files._stage["t"].cleanup()  # which pydicom leaves to the garbage collector
    return tmp_path / "medium" / "DICOMDIR"


def test_an_index_reads_as_the_files_that_it_names(medium: Path, series: Path) -> None:
    assert is_dicomdir(medium)
    volume = read_volume(medium, series="thick")
    np.testing.assert_array_equal(volume.values, read_volume(series, series="thick").values)
    assert [s.description for s in list_series(medium)] == ["thin", "thick"]


def test_a_copy_in_lower_case_is_found(medium: Path) -> None:
    for path in sorted(medium.parent.rglob("*"), reverse=True):
        if path != medium:
            path.rename(path.with_name(path.name.lower()))
    assert len(read_volume(medium, series="thin").values) == 3


def test_missing_files_of_an_index_are_told(medium: Path, refused: Refused) -> None:
    files, missing = indexed_files(medium)
    assert (len(files), missing) == (6, {})
    wanted = [f for f in files if pydicom.dcmread(f).SeriesDescription == "thin"]
    wanted[1].unlink()
    assert "1 file was left out" in refused(read_volume, medium, series="thin")
    for file in files:
        file.unlink(missing_ok=True)
    assert "none of which is there" in refused(read_volume, medium)


@pytest.mark.parametrize("name", [["..", "OUT"], ["/etc", "passwd"], ["A/../../B"], [".."]])
def test_names_outside_the_folder_of_an_index_are_refused(
    medium: Path, refused: Refused, name: list[str]
) -> None:
    ds = pydicom.dcmread(medium)
    with warnings.catch_warnings(action="ignore"):  # the names have no valid form
        for record in ds.DirectoryRecordSequence:
            if "ReferencedFileID" in record:
                record.ReferencedFileID = name
        ds.save_as(medium)
    assert "outside its folder" in refused(read_volume, medium)

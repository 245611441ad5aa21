"""Deflated DICOM files are inflated only as far as the memory budget allows."""

from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import DeflatedExplicitVRLittleEndian

from medscore.datasets.dicom.read import read_dicom
from medscore.datasets.load import read_volume
from medscore.io.budget import VARIABLE


@pytest.fixture
def deflated(tmp_path: Path) -> Path:
    """A slice of 128 x 128 pixels, deflated, with pixels that are mostly zero."""
    ds = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    ds.PixelData = ds.PixelData[:1000].ljust(len(ds.PixelData), b"\0")
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    ds.save_as(tmp_path / "x.dcm")
    return tmp_path / "x.dcm"


def test_a_deflated_file_is_read(deflated: Path) -> None:
    assert read_dicom(deflated).values.shape == (1, 128, 128)


def test_a_bomb_is_refused_before_it_is_inflated(
    deflated: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def inflated(*_: object, **__: object) -> None:
        raise AssertionError("pydicom inflates it")

    monkeypatch.setenv(VARIABLE, "20K")
    monkeypatch.setattr(pydicom, "dcmread", inflated)
    for read in (read_dicom, read_volume):
        assert "memory budget" in refused(read, deflated)


def test_a_deflated_file_without_the_length_of_its_meta_information_is_refused(
    deflated: Path, refused: Callable[..., str]
) -> None:
    content = deflated.read_bytes()
    deflated.write_bytes(content[:132] + content[144:])
    assert "meta information is missing" in refused(read_dicom, deflated)


def test_the_pixels_of_a_file_are_bounded(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "60K")  # 128 x 128 pixels in single precision are 64 KiB
    assert "memory budget" in refused(read_dicom, Path(str(get_testdata_file("CT_small.dcm"))))

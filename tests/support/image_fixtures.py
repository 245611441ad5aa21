"""Images for the readers: what pydicom ships, and synthetic slices with known geometry."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from medscore.errors import MedscoreError

WriteSlice = Callable[..., Path]
Refused = Callable[..., str]


@pytest.fixture(scope="session")
def bundled() -> Callable[[str], Path]:
    """Path of an image in pydicom's test files."""
    return lambda name: Path(pydicom.__file__).parent / "data" / "test_files" / name


@pytest.fixture
def write_slice(tmp_path: Path) -> WriteSlice:
    """Write one CT slice into ``folder``; keywords set DICOM elements, None removes them."""

    def write(name: str, hu: NDArray[np.generic], **elements: Any) -> Path:
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CTImageStorage
        ds.SOPInstanceUID = generate_uid(entropy_srcs=[name])
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3", "1.2.3.4"
        ds.FrameOfReferenceUID = "1.2.3.5"
        ds.PatientName, ds.PatientID, ds.Modality = "Zyxwvut^Distinctive", "Qponml-77", "CT"
        ds.Rows, ds.Columns = hu.shape
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleSlope, ds.RescaleIntercept = 2, -1024
        ds.PixelSpacing, ds.SliceThickness = [0.8, 0.5], 2.5
        ds.ImagePositionPatient = ["-10", "-20", "0"]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        for keyword, value in elements.items():
            if value is None:
                delattr(ds, keyword)
            else:
                setattr(ds, keyword, value)
        ds.PixelData = ((hu + 1024) // 2).astype("<i2").tobytes()
        path = tmp_path / "series" / name
        path.parent.mkdir(exist_ok=True)
        ds.save_as(path, enforce_file_format=True)
        return path

    return write


@pytest.fixture(scope="session")
def refused() -> Refused:
    """Call a reader on invalid input, check the form of the message and return it."""

    def call(read: Callable[..., Any], where: Path, *args: Any, **options: Any) -> str:
        with pytest.raises(MedscoreError) as caught:
            read(where, *args, **options)
        message = str(caught.value)
        assert "\n" not in message
        assert str(where) in message
        assert " - " in message
        return message

    return call


@pytest.fixture(scope="session")
def ramp() -> NDArray[np.int64]:
    """An 8 x 6 slice in HU with a different even value in every pixel."""
    return np.arange(48).reshape(8, 6) * 20 - 1000


def group(**elements: Any) -> Sequence:
    """A functional group of an enhanced object."""
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return Sequence([item])


@pytest.fixture
def enhanced(write_slice: WriteSlice, ramp: NDArray[np.int64]) -> Callable[..., Path]:
    """Frames in the order of ``heights`` in one file, as enhanced CT has them."""

    def write(heights: list[float], intercepts: list[int] | None = None) -> Path:
        count = len(heights)
        stacked = np.concatenate([ramp + 100 * k for k in range(count)])
        path = write_slice("enhanced.dcm", stacked)
        ds = pydicom.dcmread(path)
        ds.Rows, ds.NumberOfFrames = len(ramp), count
        for keyword in ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient",
                        "RescaleSlope", "RescaleIntercept", "SliceThickness"):  # fmt: skip
            delattr(ds, keyword)
        shared, per_frame = Dataset(), []
        shared.PixelMeasuresSequence = group(PixelSpacing=[0.8, 0.5], SliceThickness=2.0)
        shared.PlaneOrientationSequence = group(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
        for k, z in enumerate(heights):
            item = Dataset()
            item.PlanePositionSequence = group(ImagePositionPatient=[-10, -20, z])
            item.PixelValueTransformationSequence = group(
                RescaleSlope=2, RescaleIntercept=(intercepts or [-1024] * count)[k]
            )
            per_frame.append(item)
        ds.SharedFunctionalGroupsSequence = Sequence([shared])
        ds.PerFrameFunctionalGroupsSequence = Sequence(per_frame)
        ds.save_as(path, enforce_file_format=True)
        return path

    return write

"""Small valid DICOM files: eleven transfer syntaxes, a series, and enhanced multi-frame files."""

from __future__ import annotations

from pathlib import Path

import gdcm
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_CT, ENHANCED_MR = CT + ".1", MR + ".1"
PLAIN = {
    "explicit": ExplicitVRLittleEndian, "implicit": ImplicitVRLittleEndian,
    "big": ExplicitVRBigEndian, "deflated": DeflatedExplicitVRLittleEndian,
}  # fmt: skip
PYDICOM = {"rle": RLELossless, "jpegls": JPEGLSLossless, "jpeg2000": JPEG2000Lossless}
GDCM = {
    "baseline": (gdcm.TransferSyntax.JPEGBaselineProcess1, 8),
    "extended": (gdcm.TransferSyntax.JPEGExtendedProcess2_4, 12),
    "lossless": (gdcm.TransferSyntax.JPEGLosslessProcess14_1, 16),
}
SYNTAXES = (*PLAIN, *PYDICOM, *GDCM)
"""Names of the transfer syntaxes, of which each has a file NAME.dcm."""


def dicom_files(folder: Path) -> dict[str, Path]:
    """Write all files.

    Args:
        folder: an empty folder to write in.

    Returns:
        The files by name: NAME.dcm, ``series``, ``enhanced-ct.dcm``, ``enhanced-mr.dcm``.
    """
    stored = _stored()
    for name, syntax in PLAIN.items():
        ds = _slice(stored.byteswap() if name == "big" else stored)
        ds.file_meta.TransferSyntaxUID = syntax
        ds.save_as(folder / f"{name}.dcm", enforce_file_format=True)
    for name, syntax in PYDICOM.items():
        ds = _slice(stored)
        ds.compress(syntax, generate_instance_uid=False)
        ds.save_as(folder / f"{name}.dcm", enforce_file_format=True)
    for name, (syntax, bits) in GDCM.items():
        _transcoded(folder, name, syntax, bits)
    (folder / "series").mkdir()
    for k in range(3):
        _slice(stored, k).save_as(folder / "series" / f"{k}.dcm", enforce_file_format=True)
    for name, uid in (("ct", ENHANCED_CT), ("mr", ENHANCED_MR)):
        _enhanced(name.upper(), uid).save_as(
            folder / f"enhanced-{name}.dcm", enforce_file_format=True
        )
    names = [*(f"{name}.dcm" for name in SYNTAXES), "series", "enhanced-ct.dcm", "enhanced-mr.dcm"]
    return {name: folder / name for name in names}


def _stored() -> NDArray[np.int16]:
    y, x = np.mgrid[-15.5:16, -15.5:16]
    hu = np.where(np.hypot(x, y) < 13, 0, -1000)
    return np.where(np.hypot(x - 5, y + 2) < 3, 800, hu).astype(np.int16)


def _base(sop: str, stored: NDArray[np.int16], number: int) -> Dataset:
    """A dataset with identity and pixels."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = sop, f"2.25.111.{number + 1}"
    ds.file_meta.MediaStorageSOPClassUID = sop
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "2.25.1", "2.25.2"
    ds.FrameOfReferenceUID, ds.PatientName, ds.PatientID = "2.25.3", "Nobody", "0"
    ds.SeriesDescription, ds.StudyDate = "phantom", "20240101"
    ds.InstanceNumber, ds.SamplesPerPixel, ds.PhotometricInterpretation = (
        number + 1,
        1,
        "MONOCHROME2",
    )
    ds.Rows, ds.Columns = stored.shape[-2:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.PixelData = stored.astype("<i2").tobytes()
    ds["PixelData"].VR = "OW"
    return ds


def _slice(stored: NDArray[np.int16], number: int = 0) -> Dataset:
    """A single CT slice."""
    ds = _base(CT, stored, number)
    ds.Modality, ds.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.ImagePositionPatient = ["-46.5", "-46.5", str(5 * number)]
    ds.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    ds.PixelSpacing, ds.SliceThickness = ["3", "3"], "5"
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = "1", "0", "HU"
    ds.WindowCenter, ds.WindowWidth = "40", "400"
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CT, "2.25.9"
    ds.ReferencedImageSequence = Sequence([item])
    return ds


def _enhanced(modality: str, sop: str) -> Dataset:
    """Four frames, with shared and per-frame functional groups."""
    frames = np.stack([_stored() + 1000 * (modality == "MR") + k for k in range(4)])
    ds = _base(sop, frames.astype(np.int16), 0)
    ds.Modality, ds.NumberOfFrames = modality, 4
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    shared, groups = Dataset(), []
    shared.PixelMeasuresSequence = _item(PixelSpacing=["3", "3"], SliceThickness="5")
    shared.PlaneOrientationSequence = _item(ImageOrientationPatient=["1", "0", "0", "0", "1", "0"])
    shared.PixelValueTransformationSequence = _item(
        RescaleSlope="1", RescaleIntercept="0", RescaleType="HU" if modality == "CT" else "US"
    )
    for k in range(4):
        group = Dataset()
        group.PlanePositionSequence = _item(ImagePositionPatient=["0", "0", str(5 * k)])
        groups.append(group)
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    ds.PerFrameFunctionalGroupsSequence = Sequence(groups)
    return ds


def _item(**fields: object) -> Sequence:
    item = Dataset()
    for name, value in fields.items():
        setattr(item, name, value)
    return Sequence([item])


def _transcoded(folder: Path, name: str, syntax: int, bits: int) -> None:
    """A slice compressed by gdcm."""
    ds = _slice(_stored())
    if bits < 16:
        stored = (_stored() + 1000) // (8 if bits == 8 else 1)
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8 if bits == 8 else 16, bits, bits - 1
        ds.PixelRepresentation = 0
        ds.RescaleSlope, ds.RescaleIntercept = "8" if bits == 8 else "1", "-1000"
        ds.PixelData = stored.astype("u1" if bits == 8 else "<u2").tobytes()
    plain = folder / f"{name}.plain"
    ds.save_as(plain, enforce_file_format=True)
    reader, change, writer = (
        gdcm.ImageReader(),
        gdcm.ImageChangeTransferSyntax(),
        gdcm.ImageWriter(),
    )
    reader.SetFileName(str(plain))
    if not reader.Read():
        raise OSError(f"gdcm cannot read {plain}")
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    if not change.Change():
        raise OSError(f"gdcm cannot write {name}")
    writer.SetFileName(str(folder / f"{name}.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.Write()
    plain.unlink()

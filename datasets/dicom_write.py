"""DICOM out: a derived CT series with new identifiers, no patient identity."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from medscore.datasets.volume import Source

SLOPE, INTERCEPT = 0.1, -1024.0
"""Stored as 16 bits: HU from -1024 to 5529.5 in steps of 0.1, clipped outside."""


def write_dicom_series(
    folder: Path,
    values: NDArray[np.float32],
    affine: NDArray[np.float64],
    source: Source,
    *,
    description: str,
    version: str,
) -> None:
    """Write slices (n, rows, columns) in HU as ``0001.dcm``, ... into an existing ``folder``.

    Study and frame of reference are the source's; series and instances are new, derived from the
    source's hash and the content, so that equal content gets equal identifiers. Each slice refers
    to the instance it was made from.
    """
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    column, row, slice_ = (float(np.linalg.norm(lps[:3, i])) for i in range(3))
    content = hashlib.sha256(values.tobytes() + affine.tobytes()).hexdigest()
    seeds = [source.sha256, description, content]
    series = generate_uid(entropy_srcs=["series", *seeds])
    for index, image in enumerate(values):
        ds = _header(source, series, index, version)
        ds.SOPInstanceUID = generate_uid(entropy_srcs=["instance", str(index), *seeds])
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.SeriesDescription = description[:64]
        ds.ImageOrientationPatient = [*_ds(lps[:3, 0] / column), *_ds(lps[:3, 1] / row)]
        ds.ImagePositionPatient = _ds(lps[:3, 3] + index * lps[:3, 2])
        ds.PixelSpacing = _ds([row, column])
        ds.SliceThickness, ds.SpacingBetweenSlices = None, _ds([slice_])[0]
        ds.Rows, ds.Columns = image.shape
        stored = np.clip(np.rint((image - INTERCEPT) / SLOPE), 0, 2**16 - 1).astype("<u2")
        ds.PixelData = stored.tobytes()
        ds.save_as(folder / f"{index + 1:04d}.dcm", enforce_file_format=True)


def _header(source: Source, series: str, index: int, version: str) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = CTImageStorage
    ds.SOPClassUID = CTImageStorage
    ds.Modality = "CT"
    ds.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    ds.StudyInstanceUID = source.uids.get("StudyInstanceUID") or generate_uid(
        entropy_srcs=["study", source.sha256]
    )
    ds.SeriesInstanceUID = series
    frame = source.uids.get("FrameOfReferenceUID")
    ds.FrameOfReferenceUID = frame or generate_uid(entropy_srcs=["frame", source.sha256])
    ds.PositionReferenceIndicator = ""
    if index < len(source.instances) and source.instances[index]:
        reference = Dataset()
        reference.ReferencedSOPClassUID = CTImageStorage
        reference.ReferencedSOPInstanceUID = source.instances[index]
        ds.SourceImageSequence = [reference]
    ds.DerivationDescription = "reconstructed from partial measurements"
    ds.PatientName = ds.PatientID = ds.PatientBirthDate = ds.PatientSex = ""
    ds.PatientIdentityRemoved = "YES"
    ds.DeidentificationMethod = "patient and study details not copied"
    ds.StudyDate = ds.StudyTime = ds.StudyID = ds.AccessionNumber = ds.ReferringPhysicianName = ""
    ds.Manufacturer, ds.SoftwareVersions = "medscore", version
    ds.SeriesNumber, ds.InstanceNumber = 1, index + 1
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, 0
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = SLOPE, INTERCEPT, "HU"
    ds.WindowCenter, ds.WindowWidth = 40, 400
    ds.KVP = None
    ds.AcquisitionNumber = None
    return ds


def _ds(numbers: NDArray[np.float64] | list[float]) -> list[str]:
    """Decimal strings of at most 16 characters."""
    return [f"{float(value):.9g}" for value in numbers]

"""Writing DICOM: a derived CT or MR series with new identifiers, without patient identity."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)

from medscore.datasets.volume import Source

SLOPES, INTERCEPT = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0), -1024.0
"""HU are stored in 16 bits from -1024 on, in the finest of these steps with which the largest fits:
up to 5529.5 in steps of 0.1, up to 64511 in steps of 1."""

CLASSES = {"CT": CTImageStorage, "MR": MRImageStorage}


def write_dicom_series(
    folder: str | Path,
    values: NDArray[np.float32],
    affine: NDArray[np.float64],
    source: Source,
    *,
    modality: str = "CT",
    identity: Mapping[str, str] | None = None,
    description: str,
    version: str,
) -> None:
    """Write slices as ``0001.dcm``, ``0002.dcm``, ... into a folder.

    The frame of reference is that of the source. So is the study if the identity is kept; otherwise
    the series has no patient, and must not claim to be of the source's study, so that its study is
    new, one for all series that are derived from the source's. Series and instances are new,
    derived from the source's hash and the content, so that equal content gets equal identifiers.
    Each slice refers to the instance from which it was made. Magnitudes are stored in 65535 steps
    up to the largest.

    Args:
        folder: an existing folder.
        values: (n, rows, columns) HU for CT, magnitudes for MR.
        affine: (4, 4) map from voxel (column, row, slice) to RAS mm.
        source: provenance of the slices.
        modality: "CT" or "MR".
        identity: patient and study tags from
            :func:`~medscore.datasets.dicom.identity.read_identity`; by default the files carry
            none.
        description: SeriesDescription, cut to 64 characters.
        version: version of medscore, for SoftwareVersions.
    """
    folder = Path(folder)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    column, row, slice_ = (float(np.linalg.norm(lps[:3, i])) for i in range(3))
    content = hashlib.sha256(values.tobytes() + affine.tobytes()).hexdigest()
    seeds = [source.sha256, description, content]
    series = generate_uid(entropy_srcs=["series", *seeds])
    slope, intercept, window = _slope(values), INTERCEPT, (40.0, 400.0)
    if modality == "MR":
        largest = float(values.max()) if values.max() > 0 else 1.0
        slope, intercept = float(f"{largest / (2**16 - 1):.9g}"), 0.0
        window = largest / 2, largest
    for index, image in enumerate(values):
        ds = _header(source, series, index, version, modality)
        ds.RescaleSlope, ds.RescaleIntercept = _ds([slope, intercept])
        ds.RescaleType = "HU" if modality == "CT" else "US"
        ds.WindowCenter, ds.WindowWidth = _ds(window)
        for tag, value in (identity or {}).items():
            setattr(ds, tag, value)
        if identity:
            ds.StudyInstanceUID = source.uids.get("StudyInstanceUID") or ds.StudyInstanceUID
            ds.PatientIdentityRemoved = "NO"
            del ds.DeidentificationMethod
        ds.SOPInstanceUID = generate_uid(entropy_srcs=["instance", str(index), *seeds])
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.SeriesDescription = description[:64]
        ds.ImageOrientationPatient = [*_ds(lps[:3, 0] / column), *_ds(lps[:3, 1] / row)]
        ds.ImagePositionPatient = _ds(lps[:3, 3] + index * lps[:3, 2])
        ds.PixelSpacing = _ds([row, column])
        ds.SliceThickness, ds.SpacingBetweenSlices = None, _ds([slice_])[0]
        ds.Rows, ds.Columns = image.shape
        stored = np.clip(np.rint((image - intercept) / slope), 0, 2**16 - 1).astype("<u2")
        ds.PixelData = stored.tobytes()
        ds.save_as(folder / f"{index + 1:04d}.dcm", enforce_file_format=True)


def _header(source: Source, series: str, index: int, version: str, modality: str) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CLASSES[modality]
    ds.Modality = modality
    ds.ImageType = ["DERIVED", "SECONDARY", "AXIAL" if modality == "CT" else "OTHER"]
    of_study = source.uids.get("StudyInstanceUID") or source.sha256
    ds.StudyInstanceUID = generate_uid(entropy_srcs=["study", of_study])
    ds.SeriesInstanceUID = series
    frame = source.uids.get("FrameOfReferenceUID")
    ds.FrameOfReferenceUID = frame or generate_uid(entropy_srcs=["frame", source.sha256])
    ds.PositionReferenceIndicator = ds.Laterality = ""
    ds.PatientPosition = source.position
    if index < len(source.instances) and source.instances[index]:
        reference = Dataset()
        reference.ReferencedSOPClassUID = source.uids.get("SOPClassUID") or CLASSES[modality]
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
    ds.AcquisitionNumber = None
    if modality == "CT":
        ds.KVP = None
    else:
        ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = "RM", "NONE", ""
        ds.MRAcquisitionType, ds.EchoTrainLength = "2D", None
        ds.EchoTime = ds.RepetitionTime = None
    return ds


def _slope(hu: NDArray[np.float32]) -> float:
    """The finest step in which 16 bits hold all HU; the coarsest where none does."""
    top = float(hu.max()) - INTERCEPT
    return next((step for step in SLOPES if top <= step * (2**16 - 1)), SLOPES[-1])


def _ds(numbers: NDArray[np.float64] | list[float] | tuple[float, ...]) -> list[str]:
    """Decimal strings of at most 16 characters."""
    return [f"{float(value):.9g}" for value in numbers]

"""DICOM series of any orientation, spacing, rescaling, type, size and order are read correctly."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from scipy.spatial.transform import Rotation

from medscore.datasets.dicom.read import read_dicom

millimetres = st.floats(0.2, 6.0)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), slices=st.integers(1, 6), rows=st.integers(2, 9),
    columns=st.integers(2, 9), spacing=st.tuples(millimetres, millimetres, millimetres),
    slope=st.floats(0.1, 4), intercept=st.integers(-2000, 100), signed=st.booleans(),
    explicit=st.booleans(),
)  # fmt: skip
def test_a_series_reads_back(
    seed: int, slices: int, rows: int, columns: int, spacing: tuple[float, float, float],
    slope: float, intercept: int, signed: bool, explicit: bool,
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    axes = Rotation.random(rng=rng).as_matrix()
    origin = rng.uniform(-300, 300, 3)
    low, high = (-3000, 3000) if signed else (0, 4095)
    stored = rng.integers(low, high, (slices, rows, columns))
    step = f"{slope:.6g}"
    with tempfile.TemporaryDirectory() as folder:
        for place, name in zip(range(slices), rng.permutation(slices), strict=True):
            ds = Dataset()
            ds.file_meta = FileMetaDataset()
            syntax = ExplicitVRLittleEndian if explicit else ImplicitVRLittleEndian
            ds.file_meta.TransferSyntaxUID = syntax
            ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CTImageStorage
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{place + 1}"
            ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = "1.2.3", "1.2.4", "CT"
            ds.Rows, ds.Columns = rows, columns
            ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
            ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
            ds.PixelRepresentation = int(signed)
            ds.RescaleSlope, ds.RescaleIntercept = step, str(intercept)
            ds.PixelSpacing = [f"{spacing[0]:.9g}", f"{spacing[1]:.9g}"]
            ds.SpacingBetweenSlices = ds.SliceThickness = f"{spacing[2]:.9g}"
            ds.ImageOrientationPatient = [f"{v:.12f}"[:16] for v in axes[:, :2].T.ravel()]
            at = origin + place * spacing[2] * axes[:, 2]
            ds.ImagePositionPatient = [f"{v:.10f}"[:16] for v in at]
            ds.PixelData = stored[place].astype("<i2" if signed else "<u2").tobytes()
            ds.save_as(Path(folder) / f"{name}.dcm", enforce_file_format=True)
        volume = read_dicom(Path(folder))
    expected = stored * float(step) + intercept
    np.testing.assert_allclose(volume.values, expected, rtol=1e-5, atol=1e-2)
    ras = np.diag([-1.0, -1.0, 1.0])
    across = spacing[2] * axes[:, 2]
    affine = np.column_stack([spacing[1] * axes[:, 0], spacing[0] * axes[:, 1], across, origin])
    np.testing.assert_allclose(volume.affine[:3], ras @ affine, atol=2e-4)

"""Small valid files of scanners: raw k-space and CT projections."""

from __future__ import annotations

import struct
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import tifffile
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

READOUT, PHASE, COILS = 64, 32, 2
HEADER = """<?xml version="1.0"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
 <experimentalConditions><H1resonanceFrequency_Hz>63000000</H1resonanceFrequency_Hz></experimentalConditions>
 <encoding>
  <encodedSpace><matrixSize><x>64</x><y>32</y><z>1</z></matrixSize>
   <fieldOfView_mm><x>192</x><y>96</y><z>5</z></fieldOfView_mm></encodedSpace>
  <reconSpace><matrixSize><x>32</x><y>32</y><z>1</z></matrixSize>
   <fieldOfView_mm><x>96</x><y>96</y><z>5</z></fieldOfView_mm></reconSpace>
  <encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>31</maximum>
   <center>16</center></kspace_encoding_step_1></encodingLimits>
  <trajectory>cartesian</trajectory>
 </encoding>
</ismrmrdHeader>"""


def kspace() -> NDArray[np.complex64]:
    """K-space (2, coil, 64, 32) of a disc, with the readout twice as long as the object."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-31.5:32, -15.5:16]
    image = 100.0 * (np.hypot(x, y) < 12) + 50 * (np.hypot(x - 3, y + 4) < 4)
    coils = np.stack([np.exp(0.05j * (x + c * y)) for c in range(COILS)])
    images = np.stack([image * coils, 0.5 * image * coils])
    axes = (-2, -1)
    shifted = np.fft.fft2(np.fft.ifftshift(images, axes=axes), norm="ortho")
    noise = rng.normal(size=shifted.shape) + 1j * rng.normal(size=shifted.shape)
    return (np.fft.fftshift(shifted, axes=axes) + 0.01 * noise).astype(np.complex64)


def fastmri_file(folder: Path) -> Path:
    """A fastMRI file with its header.

    Args:
        folder: folder to write in.
    """
    path = folder / "fastmri.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("kspace", data=kspace(), compression="gzip")
        file["ismrmrd_header"] = HEADER
        file["mask"] = np.ones(PHASE, dtype=bool)
        file.attrs.update(acquisition="AXT2", max=1.0, norm=1.0, patient_id="none")
    return path


def ismrmrd_file(folder: Path) -> Path:
    """An ISMRMRD file: a noise scan, and every line once.

    Args:
        folder: folder to write in.
    """
    path, data = folder / "ismrmrd.h5", kspace()
    with ismrmrd.Dataset(str(path)) as file:
        file.write_xml_header(HEADER.encode())
        noise = ismrmrd.Acquisition.from_array(np.ones((COILS, 16), np.complex64))
        noise.set_flag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
        file.append_acquisition(noise)
        for index in range(2 * PHASE):
            line = np.ascontiguousarray(data[index // PHASE, :, :, index % PHASE])
            acquisition = ismrmrd.Acquisition.from_array(line)
            acquisition.center_sample = READOUT // 2
            acquisition.idx.slice = index // PHASE
            acquisition.idx.kspace_encode_step_1 = index % PHASE
            file.append_acquisition(acquisition)
    return path


def projection_files(folder: Path) -> dict[str, Path]:
    """Stacks of 60 parallel views in HDF5 and TIFF, and a folder of DICOM-CT-PD.

    Args:
        folder: folder to write in.
    """
    s = (np.arange(47) - 23) * 3.0
    rows = 2 * 0.02 * np.sqrt(np.clip(40.0**2 - s**2, 0, None))
    stack = np.broadcast_to(rows, (2, 60, 47)).astype(np.float32)
    with h5py.File(folder / "stack.h5", "w") as file:
        file.create_dataset("exchange/data", data=stack, compression="gzip")
        file["exchange/theta"] = np.zeros(3)
    tifffile.imwrite(folder / "stack.tif", stack, compression="zlib")
    tifffile.imwrite(folder / "plain.tif", stack, photometric="minisblack", metadata=None)
    _ct_pd(folder / "ctpd", rows.astype(np.float32))
    return {name: folder / name for name in ("stack.h5", "stack.tif", "plain.tif", "ctpd")}


def _ct_pd(folder: Path, row: NDArray[np.float32], views: int = 24) -> None:
    """One axial turn as DICOM-CT-PD, a file for each view."""
    folder.mkdir()
    step = 2 * np.pi / views
    for view in range(views):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = f"2.25.4.{view + 1}"
        for group in (0x7029, 0x7031):
            ds.add_new((group, 0x0010), "LO", "CTPD")
        numbers = {
            (0x7029, 0x1002): 5.0, (0x7031, 0x1001): (step * view + np.pi) % (2 * np.pi),
            (0x7031, 0x1002): 0.0, (0x7031, 0x1003): 400.0, (0x7031, 0x1031): 700.0,
        }  # fmt: skip
        for tag, value in numbers.items():
            ds.add_new(tag, "FL", float(value))
        centre = struct.pack("<2f", (len(row) + 1) / 2, 1.0)
        ds.add_new((0x7031, 0x1033), "UN", centre)
        ds.add_new((0x7029, 0x100B), "CS", "CYLINDRICAL")
        ds.Rows, ds.Columns = len(row), 2
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
        ds.RescaleSlope, ds.RescaleIntercept = "0.0001", "0"
        pixels = np.repeat((row[:, None] * 1e4).round(), 2, axis=1).astype("<u2")
        ds.PixelData = pixels.tobytes()
        ds["PixelData"].VR = "OW"
        ds.save_as(folder / f"{view:03d}.dcm", enforce_file_format=True)

"""Small valid files of every format that medscore reads, the seeds of benchmarks/fuzz.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pydicom
import SimpleITK
import tifffile
from PIL import Image

from medscore.datasets.collections.pictures import load_pictures
from medscore.datasets.collections.slices import read_archive
from medscore.datasets.load import read_volume
from medscore.datasets.raw.kspace_files import read_kspace
from medscore.datasets.raw.projections import ScanGeometry, read_projections
from medscore.datasets.volume import Source, Volume
from medscore.generation.comparison import read_features
from medscore.measurements.measurement import read_measurement, write_measurement
from medscore.measurements.simulation import simulate_scan
from medscore.measurements.tasks import Choices

DICOM = (
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_jp2klossless.dcm",
)
"""Test files of pydicom: uncompressed, RLE, JPEG-LS, JPEG 2000."""

GEOMETRY = ScanGeometry(beam="parallel", size=32, spacing=1.0, views=60, detector_spacing=1.0)


@dataclass(frozen=True)
class SeedFile:
    """A valid file and its reader.

    Attributes:
        name: name of the file.
        content: its bytes.
        read: its reader.
        arrays: bytes of its arrays in single precision.
    """

    name: str
    content: bytes
    read: Callable[[Path], object]
    arrays: int

    @property
    def size(self) -> int:
        """Bytes of the file and of its arrays."""
        return len(self.content) + self.arrays


def seed_files(folder: Path) -> list[SeedFile]:
    """Small valid files of every format.

    Args:
        folder: an empty folder to write in.
    """
    rng = np.random.default_rng(0)
    found = []
    bundled = Path(pydicom.__file__).parent / "data" / "test_files"
    for name in DICOM:
        pixels = pydicom.dcmread(bundled / name).pixel_array.size
        found.append(SeedFile(name, (bundled / name).read_bytes(), read_volume, 8 * pixels))
    found.append(_jpeg_lossless(bundled / "CT_small.dcm", folder / "jpeg_lossless.dcm"))
    values = rng.uniform(-1000, 1000, (24, 20, 6)).astype(np.float32)
    for suffix in (".nii", ".nii.gz"):
        path = folder / f"image{suffix}"
        nib.save(nib.Nifti1Image(values, np.diag([-2.0, -2, 3, 1])), path)
        found.append(SeedFile(path.name, path.read_bytes(), read_volume, values.nbytes))
    affine = np.diag([-2.0, -2.0, 3.0, 1.0])
    slices = rng.uniform(0, 900, (2, 16, 16)).astype(np.float32)
    for task, modality in (("sparse-ct", "CT"), ("mri-multicoil", "MR")):
        shift = 1000 if modality == "CT" else 0
        volume = Volume(slices - shift, affine, modality, Source("array", "ab" * 32))
        measurement = simulate_scan(volume, task, Choices(coils=3), noise_name="none", seed=0)
        path = folder / f"{task}.h5"
        write_measurement(path, measurement)
        size = 4 * measurement.data.nbytes
        found.append(SeedFile(path.name, path.read_bytes(), read_measurement, size))
    kspace = (rng.normal(size=(2, 3, 32, 16)) + 1j).astype(np.complex64)
    with h5py.File(folder / "fastmri.h5", "w") as file:
        file.create_dataset("kspace", data=kspace, compression="gzip")
    np.save(folder / "kspace.npy", kspace)
    stack = rng.uniform(0, 3, (2, 60, 46)).astype(np.float32)
    with h5py.File(folder / "stack.h5", "w") as file:
        file.create_dataset("data", data=stack, compression="gzip")
    tifffile.imwrite(folder / "stack.tif", stack, compression="zlib")

    def projections(path: Path) -> object:
        return read_projections(path, GEOMETRY)

    for name, read, array in (
        ("fastmri.h5", read_kspace, kspace), ("kspace.npy", read_kspace, kspace),
        ("stack.h5", projections, stack), ("stack.tif", projections, stack),
    ):  # fmt: skip
        found.append(SeedFile(name, (folder / name).read_bytes(), read, 2 * array.nbytes))
    return found + pictures(folder, rng)


def pictures(folder: Path, rng: np.random.Generator) -> list[SeedFile]:
    """Files that PIL reads, and NumPy archives of images, slices and features.

    Args:
        folder: a folder to write in.
        rng: generator of the values.
    """
    values = rng.integers(0, 256, (4, 24, 20, 3), dtype=np.uint8)
    for suffix in ("png", "jpg", "tif", "webp", "bmp"):
        Image.fromarray(values[0]).save(folder / f"picture.{suffix}")
    np.savez_compressed(folder / "pictures.npz", image=values, label=np.array(list("abab")))
    np.save(folder / "pictures.npy", values)
    np.savez(
        folder / "slices.npz", hu=values[..., 0].astype(np.float32), patient=np.array(list("aabb"))
    )
    np.save(folder / "features.npy", values[0, :, :, 0].astype(np.float32))

    def colours(path: Path) -> object:
        return load_pictures([path.name], root=path.parent, size=8, colour=True)

    readers: dict[str, Callable[[Path], object]] = {
        **{f"picture.{suffix}": colours for suffix in ("png", "jpg", "tif", "webp", "bmp")},
        "pictures.npz": colours, "pictures.npy": colours, "slices.npz": read_archive,
        "features.npy": read_features,
    }  # fmt: skip
    return [SeedFile(name, (folder / name).read_bytes(), read, 8 * values.nbytes)
            for name, read in readers.items()]  # fmt: skip


def _jpeg_lossless(source: Path, path: Path) -> SeedFile:
    """A file with JPEG Lossless compression, which only gdcm decodes, written by SimpleITK."""
    pixels = pydicom.dcmread(source).pixel_array.astype(np.int16)
    writer = SimpleITK.ImageFileWriter()
    writer.SetFileName(str(path))
    writer.UseCompressionOn()
    writer.SetCompressor("JPEG")
    writer.Execute(SimpleITK.GetImageFromArray(pixels[None]))
    made = pydicom.dcmread(path)
    made.Modality, made.PixelSpacing = "CT", [1, 1]
    made.save_as(path)
    return SeedFile(path.name, path.read_bytes(), read_volume, 8 * pixels.size)

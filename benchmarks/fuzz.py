"""Corrupted input: every reader on files with flipped bits, cut short, and with lying headers.

    python benchmarks/fuzz.py                 # 2,000 mutants of all formats
    python benchmarks/fuzz.py --count 200 --seed 7

Each mutant is read in a process of its own. It may be read or refused with a medscore error, and
nothing else: any other exception, a crash of the interpreter, more than 10 seconds, more memory
than 4 times the honest size plus what an honest file takes beyond it, or a file written anywhere is
a failure, and the exit code 1. The honest size of a file is that of its bytes plus the arrays it
really holds. What failed is kept in the folder that is printed. No data are needed.
"""

from __future__ import annotations

import argparse
import os
import resource
import select
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pydicom
import SimpleITK
import tifffile
import torch
from PIL import Image

from medscore.datasets.collections.pictures import load_pictures
from medscore.datasets.collections.slices import read_archive
from medscore.datasets.load import read_volume
from medscore.datasets.raw.kspace_files import read_kspace
from medscore.datasets.raw.projections import ScanGeometry, read_projections
from medscore.datasets.volume import Source, Volume
from medscore.errors import MedscoreError
from medscore.generation.comparison import read_features
from medscore.measurements.measurement import read_measurement, write_measurement
from medscore.measurements.simulation import simulate_scan
from medscore.measurements.tasks import Choices

SECONDS = 10.0
TIMES = 4
SLACK = 48 * 2**20
"""Bytes beyond the honest size that a reader's own libraries may take."""

DICOM = (
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_jp2klossless.dcm",
)
"""Of pydicom's test files: uncompressed, RLE, JPEG-LS, JPEG 2000."""

GEOMETRY = ScanGeometry(beam="parallel", size=32, spacing=1.0, views=60, detector_spacing=1.0)


@dataclass(frozen=True)
class Seedling:
    """An honest file, what reads it, and the bytes its arrays take in single precision."""

    name: str
    content: bytes
    read: Callable[[Path], object]
    arrays: int

    @property
    def honest(self) -> int:
        """Bytes of the file and of its arrays."""
        return len(self.content) + self.arrays


def seedlings(folder: Path) -> list[Seedling]:
    """Small files of every format."""
    rng = np.random.default_rng(0)
    found = []
    bundled = Path(pydicom.__file__).parent / "data" / "test_files"
    for name in DICOM:
        pixels = pydicom.dcmread(bundled / name).pixel_array.size
        found.append(Seedling(name, (bundled / name).read_bytes(), read_volume, 8 * pixels))
    found.append(_jpeg_lossless(bundled / "CT_small.dcm", folder / "jpeg_lossless.dcm"))
    values = rng.uniform(-1000, 1000, (24, 20, 6)).astype(np.float32)
    for suffix in (".nii", ".nii.gz"):
        path = folder / f"image{suffix}"
        nib.save(nib.Nifti1Image(values, np.diag([-2.0, -2, 3, 1])), path)
        found.append(Seedling(path.name, path.read_bytes(), read_volume, values.nbytes))
    affine = np.diag([-2.0, -2.0, 3.0, 1.0])
    slices = rng.uniform(0, 900, (2, 16, 16)).astype(np.float32)
    for task, modality in (("sparse-ct", "CT"), ("mri-multicoil", "MR")):
        shift = 1000 if modality == "CT" else 0
        volume = Volume(slices - shift, affine, modality, Source("array", "ab" * 32))
        measurement = simulate_scan(volume, task, Choices(coils=3), noise_name="none", seed=0)
        path = folder / f"{task}.h5"
        write_measurement(path, measurement)
        size = 4 * measurement.data.nbytes
        found.append(Seedling(path.name, path.read_bytes(), read_measurement, size))
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
        found.append(Seedling(name, (folder / name).read_bytes(), read, 2 * array.nbytes))
    return found + pictures(folder, rng)


def pictures(folder: Path, rng: np.random.Generator) -> list[Seedling]:
    """Files that PIL reads, and NumPy archives of pictures, of slices, of features."""
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
    return [Seedling(name, (folder / name).read_bytes(), read, 8 * values.nbytes)
            for name, read in readers.items()]  # fmt: skip


def _jpeg_lossless(source: Path, path: Path) -> Seedling:
    """The compression that only gdcm decodes, written by SimpleITK."""
    pixels = pydicom.dcmread(source).pixel_array.astype(np.int16)
    writer = SimpleITK.ImageFileWriter()
    writer.SetFileName(str(path))
    writer.UseCompressionOn()
    writer.SetCompressor("JPEG")
    writer.Execute(SimpleITK.GetImageFromArray(pixels[None]))
    made = pydicom.dcmread(path)
    made.Modality, made.PixelSpacing = "CT", [1, 1]
    made.save_as(path)
    return Seedling(path.name, path.read_bytes(), read_volume, 8 * pixels.size)


def flipped(content: bytearray, rng: np.random.Generator) -> None:
    """1 to 64 bits, half of the time in the first kilobyte, where headers are."""
    end = len(content) if rng.random() < 0.5 else min(1024, len(content))
    for place in rng.integers(0, end, rng.integers(1, 65)):
        content[place] ^= 1 << int(rng.integers(8))


def cut(content: bytearray, rng: np.random.Generator) -> None:
    """Any length."""
    del content[int(rng.integers(0, len(content))) :]


def absurd(content: bytearray, rng: np.random.Generator) -> None:
    """Numbers of 2, 4 or 8 bytes replaced by extreme ones."""
    for _ in range(int(rng.integers(1, 5))):
        width = int(rng.choice([2, 4, 8]))
        end = len(content) if rng.random() < 0.3 else min(1024, len(content))
        place = int(rng.integers(0, max(1, end - width)))
        value = [b"\xff", b"\x00", b"\x7f"][int(rng.integers(3))]
        content[place : place + width] = value * width


def spliced(content: bytearray, rng: np.random.Generator) -> None:
    """A piece moved over another."""
    size = int(rng.integers(1, max(2, len(content) // 4)))
    a, b = (int(rng.integers(0, max(1, len(content) - size))) for _ in range(2))
    content[a : a + size] = content[b : b + size]


def lying(content: bytearray, rng: np.random.Generator) -> None:
    """A number that stands in the file several times (a side, a count) made larger throughout."""
    width = int(rng.choice([2, 4, 8]))
    place = int(rng.integers(0, max(1, min(2048, len(content)) - width)))
    old = bytes(content[place : place + width])
    new = int(rng.integers(1, 2**15)).to_bytes(2, "little").ljust(width, b"\x00")[:width]
    if any(old):
        content[:] = content.replace(old, new, 8)


MUTATIONS = (flipped, cut, absurd, spliced, lying)


def mutant(seedling: Seedling, rng: np.random.Generator) -> tuple[str, bytes]:
    """A corrupted file and how it was made."""
    content = bytearray(seedling.content)
    mutation = MUTATIONS[int(rng.integers(len(MUTATIONS)))]
    mutation(content, rng)
    return mutation.__name__, bytes(content)


def attempt(seedling: Seedling, path: Path) -> tuple[str, int]:
    """Read in a child: ``read``, ``refused`` or what went wrong, and the bytes it took."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _child(seedling, path, writer)
    os.close(writer)
    said = b""
    if select.select([reader], [], [], SECONDS)[0]:
        said = os.read(reader, 4096)
    os.close(reader)
    if not said:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not said:
        died = os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL
        return "crash" if died else f"more than {SECONDS:g} s, or no answer", 0
    outcome, _, taken = said.decode().partition("\n")
    return outcome, int(taken or 0)


def _child(seedling: Seedling, path: Path, writer: int) -> None:
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    before = _peak()
    try:
        warnings.simplefilter("ignore")
        seedling.read(path)
        outcome = "read"
    except MedscoreError as error:
        lines = str(error).splitlines()
        outcome = "refused" if len(lines) == 1 else f"{len(lines)} lines of error"
    except BaseException as error:
        outcome = f"{type(error).__name__}: {str(error)[:200]}".replace("\n", " ")
    os.write(writer, f"{outcome}\n{_peak() - before}".encode())
    os._exit(0)


def _peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def verdict(seedling: Seedling, outcome: str, taken: int, size: int) -> str | None:
    """What is wrong with it, if anything is."""
    if outcome not in ("read", "refused"):
        return outcome
    allowed = TIMES * max(seedling.honest, size) + SLACK
    if taken > allowed:
        return f"took {taken / 2**20:.0f} MiB, allowed are {allowed / 2**20:.0f}"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000, help="mutants in all")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(args.seed)
    kept = Path(tempfile.mkdtemp(prefix="medscore-fuzz-"))
    start, outcomes, failures = time.perf_counter(), Counter[str](), 0
    with tempfile.TemporaryDirectory() as made, tempfile.TemporaryDirectory() as work:
        plants = seedlings(Path(made))
        for plant in plants:  # honest files are read, and warm the libraries up
            path = Path(work) / plant.name
            path.write_bytes(plant.content)
            outcome, _ = attempt(plant, path)
            if outcome != "read":
                raise SystemExit(f"{plant.name}, unchanged: {outcome}")
            path.unlink()
        for number in range(args.count):
            plant = plants[number % len(plants)]
            how, content = mutant(plant, rng)
            path = Path(work) / plant.name
            path.write_bytes(content)
            outcome, taken = attempt(plant, path)
            wrong = verdict(plant, outcome, taken, len(content))
            strangers = {p.name for p in Path(work).iterdir()} - {path.name}
            if strangers:
                wrong = f"wrote {', '.join(sorted(strangers))}"
            if wrong is not None:
                failures += 1
                (kept / f"{number:05d}-{plant.name}").write_bytes(content)
                print(f"{number} {plant.name} {how}: {wrong}", flush=True)
            outcomes[outcome if wrong is None else "failed"] += 1
            path.unlink()
    seconds = time.perf_counter() - start
    told = ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items()))
    print(f"{args.count} mutants of {len(plants)} files in {seconds:.0f} s: {told}")
    if failures:
        print(f"kept in {kept}")
    else:
        kept.rmdir()
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())

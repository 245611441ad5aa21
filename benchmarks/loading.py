"""Loading a DICOM series of 275 slices of 512 x 512, against SimpleITK in the same run.

    python benchmarks/loading.py                    # prints a table; exits 1 below 1.0x SimpleITK
    python benchmarks/loading.py --slices 50

The series is written first (uncompressed, 16 bits). Each is read ``--repeats`` times, in turn; the
fastest counts. Both give HU and the geometry, and what they give is compared. medscore also hashes
all bytes. The files are in the system's cache from the first time on. The same series as a patient
of LIDC-IDRI is then loaded for training twice, with a cache folder: the second start is a number.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK
from number import Number, table
from numpy.typing import NDArray

from medscore.datasets.collections.slices import load_slices
from medscore.datasets.dicom.read import read_dicom
from medscore.datasets.dicom.write import write_dicom_series
from medscore.datasets.volume import Source


def ours(folder: Path) -> NDArray[np.float32]:
    """HU by medscore."""
    return read_dicom(folder).values


def theirs(folder: Path) -> NDArray[np.float32]:
    """HU by SimpleITK."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return np.asarray(SimpleITK.GetArrayFromImage(reader.Execute()), dtype=np.float32)


def fastest(read: Callable[[Path], NDArray[np.float32]], folder: Path) -> float:
    """Seconds of one reading."""
    start = time.perf_counter()
    read(folder)
    return time.perf_counter() - start


def _start(root: Path) -> float:
    """Seconds to load the training slices at 256 x 256, with a cache."""
    start = time.perf_counter()
    load_slices(
        ["lidc:LIDC-IDRI"], root=root, side=256, low=-1000.0, high=1500.0, cache=root / "cache"
    )
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=275)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "LIDC-IDRI" / "LIDC-IDRI-0001" / "study" / "series"
        folder.mkdir(parents=True)
        draw = np.random.default_rng(0)
        values = draw.integers(-1024, 2000, (args.slices, 512, 512)).astype(np.float32)
        affine = np.diag([-0.7, -0.7, 1.25, 1.0])
        write_dicom_series(
            folder, values, affine, Source("array", "00" * 32), description="loading", version="0"
        )
        gap = float(np.abs(ours(folder) - theirs(folder)).max())
        pairs = [(fastest(ours, folder), fastest(theirs, folder)) for _ in range(args.repeats)]
        first, second = (_start(Path(work)) for _ in range(2))
    own, peer = (min(pair[i] for pair in pairs) for i in (0, 1))
    numbers = [
        Number(f"medscore, {args.slices} slices (s)", own),
        Number(f"SimpleITK {SimpleITK.Version.VersionString()} (s)", peer),
        Number("speed of medscore over SimpleITK's", peer / own, at_least=1.0),
        Number("largest difference (HU)", gap, at_most=1e-3),
        Number("training slices, first start (s)", first),
        Number("training slices, second start from the cache (s)", second, at_most=1.0),
    ]
    print("\n".join(table(numbers)))
    return int(not all(number.met for number in numbers))


if __name__ == "__main__":
    sys.exit(main())

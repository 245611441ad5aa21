"""Loading a DICOM series of 275 slices of 512 x 512, against SimpleITK in the same run.

    python benchmarks/loading.py                # prints a table; exit code 1 if a target is missed
    python benchmarks/loading.py --slices 50

The series is written first (uncompressed, 16 bits). Both libraries read it ``--repeats`` times in
turns, and the fastest run counts; the files are in the operating system's cache after the first
run. Both return HU and the geometry; the HU are compared. medscore also hashes all bytes. The same
series, laid out as a patient of LIDC-IDRI, is then loaded for training twice with a cache folder.
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
from number import Number, exit_code, show
from numpy.typing import NDArray

from medscore.datasets.collections.slices import load_slices
from medscore.datasets.dicom.read import read_dicom
from medscore.datasets.dicom.write import write_dicom_series
from medscore.datasets.volume import Source


def ours(folder: Path) -> NDArray[np.float32]:
    """HU (slices, H, W) read by medscore.

    Args:
        folder: folder of the series.
    """
    return read_dicom(folder).values


def theirs(folder: Path) -> NDArray[np.float32]:
    """HU (slices, H, W) read by SimpleITK.

    Args:
        folder: folder of the series.
    """
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return np.asarray(SimpleITK.GetArrayFromImage(reader.Execute()), dtype=np.float32)


def seconds(read: Callable[[Path], NDArray[np.float32]], folder: Path) -> float:
    """Wall time of reading a series once, in seconds.

    Args:
        read: the reader.
        folder: folder of the series.
    """
    start = time.perf_counter()
    read(folder)
    return time.perf_counter() - start


def _start(root: Path) -> float:
    """Wall time of loading the training slices at 256 x 256 with a cache, in seconds."""
    start = time.perf_counter()
    load_slices(
        ["lidc:LIDC-IDRI"], root=root, side=256, low=-1000.0, high=1500.0, cache=root / "cache"
    )
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=275, help="slices of the series")
    parser.add_argument("--repeats", type=int, default=5, help="times that each library reads it")
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
        pairs = [(seconds(ours, folder), seconds(theirs, folder)) for _ in range(args.repeats)]
        first, second = (_start(Path(work)) for _ in range(2))
    own, peer = (min(pair[i] for pair in pairs) for i in (0, 1))
    numbers = [
        Number(f"medscore, {args.slices} slices (s)", own),
        Number(f"SimpleITK {SimpleITK.Version.VersionString()} (s)", peer),
        Number("speed-up of medscore over SimpleITK", peer / own, at_least=1.0),
        Number("largest difference (HU)", gap, at_most=1e-3),
        Number("training slices, first start (s)", first),
        Number("training slices, second start from the cache (s)", second, at_most=1.0),
    ]
    return exit_code(show(numbers), check=True)


if __name__ == "__main__":
    sys.exit(main())

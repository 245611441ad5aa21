"""Decoding of 12-bit JPEG (process 4), which pydicom's plugins for gdcm and Pillow do not offer.

gdcm itself does. It is native code that a damaged file can crash, and it prints messages, so a
child process runs it. The child runs this file as a script and imports nothing of medscore.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit

SECONDS, BYTES_PER_SECOND = 60.0, 1e6
"""Time limit of the child: for any file, and per byte of large ones."""


def is_12_bit(dataset: Dataset) -> bool:
    """True if the pixels are JPEG of more than 8 bits.

    Args:
        dataset: content of a file.
    """
    lossy = dataset.file_meta.get("TransferSyntaxUID") in (JPEGExtended12Bit, JPEGBaseline8Bit)
    return lossy and int(dataset.get("BitsStored", 8)) > 8


def decode_12_bit(dataset: Dataset, count: int) -> NDArray[np.generic]:
    """Stored numbers (count, rows, columns).

    Args:
        dataset: content of the file.
        count: number of its frames.

    Raises:
        ValueError: gdcm is missing, fails, or does not finish.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.dcm"
        dataset.save_as(path, enforce_file_format=True)
        seconds = SECONDS + path.stat().st_size / BYTES_PER_SECOND
        command = [sys.executable, "-P", str(Path(__file__).resolve()), str(path)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            raise ValueError("12-bit JPEG: gdcm does not finish") from None
    kind = "<i2" if dataset.PixelRepresentation else "<u2"
    shape = (count, int(dataset.Rows), int(dataset.Columns))
    if done.returncode != 0 or len(done.stdout) != 2 * count * shape[1] * shape[2]:
        raise ValueError("12-bit JPEG, which gdcm does not decode")
    return np.frombuffer(done.stdout, dtype=kind).reshape(shape)


def main() -> int:
    """Entry point of the child process: writes the stored numbers to standard output."""
    import gdcm  # type: ignore[import-untyped]

    reader = gdcm.ImageReader()
    reader.SetFileName(sys.argv[1])
    if not reader.Read():
        return 1
    values = reader.GetImage().GetBuffer()
    sys.stdout.buffer.write(values.encode("utf-8", "surrogateescape"))
    return 0


if __name__ == "__main__":
    sys.exit(main())

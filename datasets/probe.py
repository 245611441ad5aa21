"""A trial read in a child process, for libraries that damaged files crash or hang.

HDF5 and gdcm are native code: on a few damaged files in ten thousand they end the interpreter or
never return, which no exception handler can catch. So a child process reads the file first, and it
is read here only if the child survives. The child runs this file as a script and imports nothing of
medscore.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

SECONDS, BYTES_PER_SECOND = 8.0, 5e6
"""Time limit of the trial read: for any file, and per byte of large ones."""


def probe(kind: str, paths: Sequence[Path]) -> str | None:
    """Read files in a child process, and describe how it failed.

    Args:
        kind: ``hdf5`` (reads all arrays and attributes) or ``dicom`` (reads all pixels).
        paths: files to read.

    Returns:
        The failure in words; ``None`` if there was none, or only an exception, which the caller
        will meet as well.
    """
    if not sys.executable:
        return None
    seconds = SECONDS + sum(path.stat().st_size for path in paths) / BYTES_PER_SECOND
    command = [sys.executable, "-P", str(Path(__file__).resolve()), kind, *map(str, paths)]
    try:
        done = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=seconds,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"damaged: the {kind} library did not finish within {seconds:.0f} s"
    except OSError:  # no child process can be started: skip the trial read
        return None
    return f"damaged: the {kind} library crashes on it" if done.returncode < 0 else None


def look(*paths: Path, kind: str = "hdf5") -> None:
    """Reject files on which :func:`probe` fails.

    Args:
        paths: files to read.
        kind: see :func:`probe`.

    Raises:
        MedscoreError: the library crashes or hangs on one of the files.
    """
    from medscore.errors import MedscoreError  # the child does not need it

    wrong = probe(kind, paths)
    if wrong is not None:
        raise MedscoreError(wrong, where=paths[0], hint="export it again")


def _hdf5(path: str) -> None:
    import h5py

    def visit(name: str, item: object) -> None:
        _ = dict(item.attrs)  # type: ignore[attr-defined]
        if isinstance(item, h5py.Dataset) and item.shape:
            stored = item.id.get_storage_size()
            if item.size * item.dtype.itemsize <= max(2**16, 1100 * stored):
                for start in range(0, item.shape[0], 64):
                    _ = item[start : start + 64]

    with h5py.File(path, "r") as file:
        _ = dict(file.attrs)
        file.visititems(visit)


def _dicom(path: str) -> None:
    import gzip
    import io

    import pydicom

    content = Path(path).read_bytes()
    if content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    _ = pydicom.dcmread(io.BytesIO(content), force=True).pixel_array


def main() -> int:
    """Entry point of the child process."""
    kind, *paths = sys.argv[1:]
    for path in paths:
        try:
            {"hdf5": _hdf5, "dicom": _dicom}[kind](path)
        except Exception:  # the parent raises the same error and reports it
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A first look at a file in a process of its own, for libraries that broken files crash or hang.

HDF5 and gdcm are native code: on a few damaged files in ten thousand they end the interpreter or
never return, which no exception handler sees. So a child reads the file first, and only what it
came through is read here. The child is this file, run as a script, and imports nothing of medscore.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

SECONDS, BYTES_PER_SECOND = 8.0, 5e6
"""Patience with any file, and with large ones."""


def probe(kind: str, paths: Sequence[Path]) -> str | None:
    """What goes wrong with the files in a child, in words; None if nothing does, or only what an
    exception says.

    Args:
        kind: ``hdf5`` (all arrays and attributes are read) or ``dicom`` (all pixels are).
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
        return f"damaged: the {kind} library has not come to an end after {seconds:.0f} s"
    except OSError:  # no process to be had: read it without a look
        return None
    return f"damaged: the {kind} library breaks down on it" if done.returncode < 0 else None


def look(*paths: Path, kind: str = "hdf5") -> None:
    """Refuse what :func:`probe` finds.

    Raises:
        MedscoreError: the library crashes or hangs on one of the files.
    """
    from medscore.errors import MedscoreError  # not for the child

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
    import pydicom

    _ = pydicom.dcmread(path).pixel_array


def main() -> int:
    """The child."""
    kind, *paths = sys.argv[1:]
    for path in paths:
        try:
            {"hdf5": _hdf5, "dicom": _dicom}[kind](path)
        except Exception:  # the parent meets it itself and says what it is
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())

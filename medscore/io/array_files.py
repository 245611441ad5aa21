"""The one opener of files that hold arrays: NumPy, MATLAB, HDF5, TIFF.

The format is told by the first bytes, or else by the name. Only headers are read until an array is
asked for, but for TIFF and MATLAB files of version 4; pickled objects are never read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
from numpy.typing import NDArray

from medscore.errors import MedscoreError, reading
from medscore.io.arrays import EXACT, ONLY, UNREAD, Arrays, Entry
from medscore.io.hdf5 import array, is_hdf5, member, open_hdf5
from medscore.io.mat_files import is_mat, open_mat
from medscore.io.numpy_files import is_npz, npy_header, open_npz, read_npy
from medscore.io.opening import open_file, regular_file
from medscore.io.tiff_stack import read_tiff

NPY, TIFF = b"\x93NUMPY", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of the formats that have no reader with a test of its own."""

SUFFIXES = (".npy", ".npz", ".tif", ".tiff", ".mat", ".h5", ".hdf5", ".hdf")
"""Names of the formats, so that a damaged file is refused as what it should be."""


@contextmanager
def open_arrays(path: str | os.PathLike[str], hint: str = "") -> Iterator[Arrays]:
    """Open a NumPy, MATLAB, HDF5 or TIFF file.

    Args:
        path: the file.
        hint: what the user can do if it cannot be read.

    Raises:
        MedscoreError: there is no such file, it has another format or is damaged, or anything in
            the block fails.
    """
    path = regular_file(path)
    with open_file(path) as file:
        begins = file.read(8)
    suffix = path.suffix.lower()
    if begins.startswith(NPY) or suffix == ".npy":
        with open_file(path) as file, reading("NumPy", path, hint):
            shape, dtype = npy_header(file)
        entry = Entry(shape, dtype.kind, dtype.name)
        yield Arrays(path, {ONLY: entry}, lambda name: read_npy(path, hint=hint))
    elif is_npz(path) or suffix == ".npz":
        with open_npz(path, "NumPy arrays", hint) as archive:
            entries = {name: _member(archive.header, name) for name in archive}
            yield Arrays(path, entries, archive.__getitem__)
    elif begins.startswith(TIFF) or suffix in (".tif", ".tiff"):
        stack = read_tiff(path)
        entry = Entry(stack.shape, stack.dtype.kind, stack.dtype.name)
        yield Arrays(path, {ONLY: entry}, lambda name: stack)
    elif is_mat(path) or suffix == ".mat":
        with open_mat(path, hint) as found:
            yield found
    elif is_hdf5(path):
        with open_hdf5(path, hint=hint) as opened:
            yield _hdf5(path, opened)
    else:
        raise MedscoreError(
            "is no NumPy, MATLAB, HDF5 or TIFF file", where=path, hint=hint or "convert it to one"
        )


def _member(header: Callable[[str], tuple[tuple[int, ...], Any]], name: str) -> Entry:
    """An array of an archive; pickled objects and other members are not read."""
    try:
        shape, dtype = header(name)
    except ValueError:
        return Entry((), UNREAD, "no array of numbers")
    return Entry(shape, dtype.kind, dtype.name)


def _hdf5(path: Path, file: Any) -> Arrays:
    """The arrays of an HDF5 file, in groups too."""
    found: dict[str, Entry] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.shape and item.dtype.kind in "biufc":
            stated = item.attrs.get("units", "")
            unit = stated.decode(errors="replace") if isinstance(stated, bytes) else stated
            unit = unit if isinstance(unit, str) else ""
            found[name] = Entry(item.shape, item.dtype.kind, item.dtype.name, unit)

    def read(name: str) -> NDArray[Any]:
        item = member(file, name)
        return array(item, "biufc", single=item.size > EXACT)

    file.visititems(visit)
    top = {name: entry for name, entry in found.items() if "/" not in name}
    return Arrays(path, top, read, lambda: found)


def is_array_file(path: str | os.PathLike[str]) -> bool:
    """True if a regular file is a NumPy, MATLAB, HDF5 or TIFF file, by its first bytes or its name.

    Args:
        path: the file.

    Raises:
        MedscoreError: it is no regular file.
    """
    with open_file(path) as file:
        begins = file.read(8)
    known = begins.startswith((NPY, *TIFF)) or is_mat(path) or is_hdf5(path)
    return known or Path(path).suffix.lower() in SUFFIXES

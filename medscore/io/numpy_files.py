"""NumPy files whose headers are checked before anything is allocated: .npy and .npz.

The header of an array states its shape and data type, and an archive states the size of each
member. They are compared with each other, with the bytes that the file holds and with the memory
budget. Values without a size and negative lengths, on which NumPy itself crashes, are refused.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from medscore.errors import reading
from medscore.io.budget import check_memory
from medscore.io.hdf5 import INFLATES
from medscore.io.opening import open_file

KINDS = "biufcSU"
"""NumPy's letters of the kinds of values that are read."""

MEMBERS = 100_000
"""Largest number of arrays in an archive."""


class Archive(Mapping[str, NDArray[Any]]):
    """The arrays of an open .npz file by name; each one is checked and read when it is asked for.

    Args:
        file: the open archive.
        where: its path, for error messages.
    """

    def __init__(self, file: zipfile.ZipFile, where: Path) -> None:
        self._file, self._where, self._read = file, where, 0
        self._members = {info.filename.removesuffix(".npy"): info for info in file.infolist()}
        if len(self._members) > MEMBERS:
            raise ValueError(f"{len(self._members):,} members, at most {MEMBERS:,} are read")

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Read an array."""
        if name not in self._members:
            raise KeyError(f"there is no array {name!r}")
        info = self._members[name]
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{name} is compressed by another method than deflate")
        if info.file_size > 2**16 + INFLATES * info.compress_size:
            raise ValueError(
                f"{name} declares {info.file_size:,} bytes that the file does not hold"
            )
        check_memory(self._read + info.file_size, self._where, "arrays")
        self._read += info.file_size
        with self._file.open(info) as stream:
            return read_array(stream, info.file_size, self._where)  # type: ignore[arg-type]

    def header(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and type of an array, without its values.

        Args:
            name: its name.

        Raises:
            ValueError: its header is not valid.
        """
        info = self._members[name]
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{name} is compressed by another method than deflate")
        with self._file.open(info) as stream:
            return npy_header(stream)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[str]:
        """Names of the arrays."""
        return iter(self._members)

    def __len__(self) -> int:
        """Number of arrays."""
        return len(self._members)


@contextmanager
def open_npz(path: str | os.PathLike[str], what: str, hint: str = "") -> Iterator[Archive]:
    """Open an .npz file; an exception in the block becomes a MedscoreError.

    Args:
        path: the file.
        what: noun for the content in messages, such as "slices".
        hint: what the user can do.

    Raises:
        MedscoreError: it is no such file, or anything in the block fails.
    """
    with (
        open_file(path) as opened,
        reading(what, Path(path), hint),
        zipfile.ZipFile(opened) as file,
    ):
        yield Archive(file, Path(path))


def read_npy(path: str | os.PathLike[str], what: str = "NumPy", hint: str = "") -> NDArray[Any]:
    """Read a .npy file.

    Args:
        path: the file.
        what: noun for the content in messages.
        hint: what the user can do.

    Raises:
        MedscoreError: it is no such file, declares more than it holds, or exceeds the budget.
    """
    with open_file(path) as file, reading(what, Path(path), hint):
        return read_array(file, os.fstat(file.fileno()).st_size, Path(path))


def is_npz(path: str | os.PathLike[str]) -> bool:
    """True if a regular file begins as a zip archive does.

    Args:
        path: the file.

    Raises:
        MedscoreError: it is no regular file.
    """
    with open_file(path) as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def npy_header(stream: BufferedIOBase) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array in the format of .npy, from its header.

    Args:
        stream: the stream, at its beginning; afterwards at the first value.

    Raises:
        ValueError: the header is not valid.
    """
    version = npy.read_magic(stream)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"format version {version} is not supported")
    shape, _, dtype = readers[version](stream)
    if dtype.kind not in KINDS or not dtype.itemsize:
        raise ValueError(f"an array of {dtype}")
    if any(isinstance(n, bool) or n < 0 for n in shape):
        raise ValueError(f"an array of shape {shape}")
    return shape, dtype


def read_array(stream: BufferedIOBase, held: int, where: Path) -> NDArray[Any]:
    """Read an array in the format of .npy from an open stream after checking its header.

    Args:
        stream: the stream, at its beginning; it can seek.
        held: bytes that it holds in all.
        where: file to name in the error.

    Raises:
        ValueError: the header is not valid, or declares more than the stream holds.
        MedscoreError: the array exceeds the memory budget.
    """
    shape, dtype = npy_header(stream)
    declared = math.prod(shape) * dtype.itemsize
    if declared > held - stream.tell():
        raise ValueError(f"an array of shape {shape} is more than the file holds")
    check_memory(declared, where, "values")
    stream.seek(0)
    values: NDArray[Any] = npy.read_array(stream, allow_pickle=False)
    return values

"""The arrays of .npy, .npz and .mat files by name; pickled objects are never read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from medscore.errors import reading
from medscore.io.budget import check_memory
from medscore.io.hdf5 import array, member, open_hdf5
from medscore.io.numpy_files import npy_header, open_npz, read_npy
from medscore.io.opening import open_file, regular_file
from medscore.io.probe import look

ENDINGS = (".npy", ".npz", ".mat")
"""Endings of the names of these files."""

ONLY = "the array"
"""Name of the array of a .npy file."""

HDF5 = b"\x89HDF\r\n\x1a\n"
_VERSIONS = b"MATLAB 7.3 MAT-file"
_NUMBERS = {
    "double", "single", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
}  # fmt: skip


@dataclass(frozen=True)
class Arrays:
    """The arrays of an open file.

    Attributes:
        shapes: shape of each array of real numbers.
        others: what else there is, by name: texts, structures, complex numbers.
        read: reads an array by its name.
    """

    shapes: Mapping[str, tuple[int, ...]]
    others: Mapping[str, str]
    read: Callable[[str], NDArray[Any]]

    def get(self, name: str) -> NDArray[Any] | None:
        """An array of numbers or texts; None if there is none.

        Args:
            name: its name.
        """
        return self.read(name) if name in self.shapes or name in self.others else None


@contextmanager
def open_arrays(path: Path) -> Iterator[Arrays]:
    """Open a file of arrays; an exception in the block becomes a MedscoreError.

    Args:
        path: ``.npy``, ``.npz`` or ``.mat`` file.

    Raises:
        MedscoreError: there is no such file, it is damaged, or anything in the block fails.
    """
    path, low = regular_file(path), path.name.lower()
    if low.endswith(".npy"):
        with open_file(path) as file, reading("NumPy", path):
            shape, dtype = npy_header(file)
        yield _sorted({ONLY: (shape, dtype.name, dtype.kind)}, lambda _: read_npy(path))
    elif low.endswith(".npz"):
        with open_npz(path, "NumPy arrays") as archive:
            yield _sorted({name: _kind(archive, name) for name in archive}, archive.__getitem__)
    elif _is_hdf5(path):
        with open_hdf5(path, "MATLAB") as opened:
            yield _of_hdf5(opened)
    else:
        with reading("MATLAB", path):
            yield _of_matlab(path)


def _kind(archive: Any, name: str) -> tuple[tuple[int, ...], str, str]:
    """Shape, type and NumPy's letter of an array; pickled objects and other members are passed."""
    try:
        shape, dtype = archive.header(name)
    except ValueError:
        return (), "no array of numbers", "O"
    return shape, dtype.name, dtype.kind


def _sorted(
    kinds: Mapping[str, tuple[tuple[int, ...], str, str]],
    read: Callable[[str], NDArray[Any]],
) -> Arrays:
    """Arrays of real numbers, and others, by NumPy's letters of their kinds."""
    shapes = {name: shape for name, (shape, _, kind) in kinds.items() if kind in "iuf"}
    others = {name: dtype for name, (_, dtype, kind) in kinds.items() if kind not in "iuf"}
    return Arrays(shapes, others, read)


def _is_hdf5(path: Path) -> bool:
    with open_file(path) as file:
        head = file.read(520)
    return head.startswith((HDF5, _VERSIONS)) or head[512:520] == HDF5


def _of_hdf5(opened: Any) -> Arrays:
    """MATLAB 7.3: HDF5, with the axes in reverse order."""
    shapes: dict[str, tuple[int, ...]] = {}
    others: dict[str, str] = {}
    for name in opened:
        if name.startswith("#"):
            continue
        item = member(opened, name)
        stated = item.attrs.get("MATLAB_class", b"")
        kind = stated.decode("latin-1") if isinstance(stated, bytes) else str(stated)
        if not isinstance(item, h5py.Dataset):
            others[name] = kind or "group"
        elif item.dtype.kind in "iuf" and kind in {*_NUMBERS, ""} and item.shape:
            shapes[name] = tuple(int(n) for n in item.shape[::-1])
        else:
            others[name] = kind or str(item.dtype)

    def read(name: str) -> NDArray[Any]:
        item = member(opened, name)
        if others.get(name) == "char":
            codes = array(item, "u", single=False).ravel()
            return np.array("".join(map(chr, codes)))
        return array(item, "iuf").T

    return Arrays(shapes, others, read)


def _of_matlab(path: Path) -> Arrays:
    """MATLAB 4 to 7, read by SciPy."""
    from scipy.io import loadmat, whosmat  # they take a while to import

    look(path, kind="mat")
    with open_file(path) as file:
        found = whosmat(file)
    shapes = {name: tuple(shape) for name, shape, kind in found if kind in _NUMBERS}
    others = {name: kind for name, _, kind in found if kind not in _NUMBERS}

    def read(name: str) -> NDArray[Any]:
        check_memory(8 * math.prod(shapes.get(name, ())), path, f"values in {name}")
        with open_file(path) as file:
            values = np.asarray(loadmat(file, variable_names=[name])[name])
        if values.dtype.kind not in "iufSU":
            raise ValueError(f"{name} holds {values.dtype}")
        return values

    return Arrays(shapes, others, read)

"""MATLAB files: version 5 through SciPy, version 7.3 (HDF5) through h5py, as arrays by name.

Members of a structure are named with dots, ``scan.parameters.angles``. An array has the shape that
MATLAB shows, so those of version 7.3, which stores them by columns, are transposed. A file of
version 5 may hold any depth of structures, sizes that it does not store, and compressed bytes
without end: it is read by a child process within limits first (:mod:`medscore.io.probe`). Neither
reader executes anything; objects, functions and cells are left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from medscore.errors import reading
from medscore.io.budget import check_memory
from medscore.io.hdf5 import INFLATES, array, open_hdf5
from medscore.io.opening import open_file
from medscore.io.probe import inflated, look

HEADER, V5, V73 = 128, b"MATLAB 5.0 MAT-file", b"MATLAB 7.3 MAT-file"
"""Size of the header, and its first bytes by version."""

NESTED, MEMBERS = 20, 10_000
"""Deepest structure and largest number of arrays that are read."""

Found = dict[str, NDArray[Any]]


def is_mat(path: str | os.PathLike[str]) -> bool:
    """True if a regular file begins as a MATLAB file of version 5 or 7.3 does.

    Args:
        path: the file.

    Raises:
        MedscoreError: it is no regular file.
    """
    with open_file(path) as file:
        return file.read(len(V5)) in (V5, V73)


@contextmanager
def open_mat(path: str | os.PathLike[str], hint: str = "") -> Iterator[Found]:
    """The arrays of numbers and the texts of a MATLAB file by name.

    Args:
        path: the file.
        hint: what the user can do if it cannot be read.

    Raises:
        MedscoreError: it is no such file, is damaged, declares more than it holds, or exceeds the
            memory budget; or anything in the block fails.
    """
    path = Path(path)
    with open_file(path) as file:
        header = file.read(HEADER)
    if header.startswith(V73):
        with open_hdf5(path, "MATLAB", hint) as file:
            yield _version_7_3(file)
        return
    with reading("MATLAB", path, hint):
        if not header.startswith(V5):
            raise ValueError("not version 5 or 7.3: save it with -v7 or -v7.3")
        yield _version_5(path)


def _version_5(path: Path) -> Found:
    from scipy.io import loadmat

    with open_file(path) as file:
        check_memory(inflated(file), path, "values")
        look(path, kind="mat")
        file.seek(0)
        content = loadmat(file, verify_compressed_data_integrity=True)
    found: Found = {}
    for name, value in content.items():
        if not name.startswith("__"):
            _flatten(name, value, found)
    return found


def _flatten(name: str, value: Any, found: Found) -> None:
    """Add an array, or the members of a structure."""
    if not isinstance(value, np.ndarray) or name.count(".") > NESTED or len(found) > MEMBERS:
        return
    if value.dtype.names is None:
        if value.dtype.kind in "biufcU":
            found[name] = value
    elif value.size == 1 and value.dtype.hasobject:
        for member in value.dtype.names:
            _flatten(f"{name}.{member}", value.flat[0][member], found)


def _version_7_3(file: Any) -> Found:
    found: Found = {}
    total = 0

    def visit(name: str, item: Any) -> None:
        nonlocal total
        if not isinstance(item, h5py.Dataset) or name.startswith("#") or len(found) > MEMBERS:
            return
        if "MATLAB_empty" in item.attrs or not item.shape:
            return
        total += item.size * item.dtype.itemsize
        check_memory(total, item.file.filename, "values")
        value = _value(item)
        if value is not None:
            found[name.replace("/", ".")] = value

    file.visititems(visit)
    return found


def _value(item: Any) -> NDArray[Any] | None:
    """An array as MATLAB shows it; ``None`` for what is neither numbers nor text."""
    if item.dtype.names == ("real", "imag"):
        declared = item.size * item.dtype.itemsize
        if item.external or item.is_virtual:
            raise ValueError(f"the values of {item.name} are in another file")
        if declared > max(2**16, INFLATES * item.id.get_storage_size()):
            raise ValueError(f"{item.name} declares more than the file holds")
        parts = item[()]
        made: NDArray[Any] = (parts["real"] + 1j * parts["imag"]).T
        return made
    if item.dtype.kind not in "biuf":
        return None
    values = array(item, "biuf", single=False)
    if item.attrs.get("MATLAB_class") == b"char":
        return np.array(["".join(map(chr, values.T.ravel().tolist()))])
    return values.T

"""MATLAB files: versions 4 and 5 through SciPy, version 7.3 (HDF5) through h5py.

Members of a structure are named with dots, ``scan.parameters.angles``. An array has the shape that
MATLAB shows, so those of version 7.3, which stores them by columns, are transposed. A file of
version 5 may hold any depth of structures, sizes that it does not store, and compressed bytes
without end: it is read by a child process within limits first (:mod:`medscore.io.probe`). No
reader executes anything; objects, functions and cells are left out.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
from numpy.typing import NDArray

from medscore.errors import reading
from medscore.io.arrays import EXACT, UNREAD, Arrays, Entry
from medscore.io.budget import check_memory
from medscore.io.hdf5 import INFLATES, array, is_hdf5, member, open_hdf5
from medscore.io.mat_elements import ORDERS, elements, is_version_4
from medscore.io.opening import open_file
from medscore.io.probe import look

HEADER, V5, V73 = 128, b"MATLAB 5.0 MAT-file", b"MATLAB 7.3 MAT-file"
"""Size of the header, and its first bytes by version."""

KINDS = {
    "double": "f8", "single": "f4", "int8": "i1", "int16": "i2", "int32": "i4", "int64": "i8",
    "uint8": "u1", "uint16": "u2", "uint32": "u4", "uint64": "u8", "logical": "b1", "char": "U4",
}  # fmt: skip
"""The classes of MATLAB that are read: NumPy's letter and the bytes of a value."""

NESTED, MEMBERS = 20, 10_000
"""Deepest structure and largest number of arrays that are read."""


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
def open_mat(path: str | os.PathLike[str], hint: str = "") -> Iterator[Arrays]:
    """Open a MATLAB file.

    Args:
        path: the file.
        hint: what the user can do if it cannot be read.

    Raises:
        MedscoreError: it is no such file, is damaged, or declares more than it holds; or anything
            in the block fails.
    """
    path = Path(path)
    with open_file(path) as file:
        header = file.read(HEADER)
        if header.startswith(V73) or is_hdf5(path):
            with open_hdf5(path, "MATLAB", hint) as opened:
                yield _version_7_3(path, opened)
            return
        with reading("MATLAB", path, hint):
            if is_version_4(header):
                yield _version_4(path, file)
            elif header[126:] in ORDERS:
                yield _version_5(path, file)
            else:
                raise ValueError("not version 4, 5 or 7.3: save it with -v7 or -v7.3")


def _version_4(path: Path, file: BinaryIO) -> Arrays:
    """All arrays are read, for no list of them tells real numbers from complex ones."""
    from scipy.io import loadmat  # takes a while to import

    size = 8 * path.stat().st_size
    check_memory(size, path, "values")
    look(path, kind="mat", declared=size)
    content = loadmat(file)
    found = {name: value for name, value in content.items() if not name.startswith("__")}
    return Arrays(path, {name: _read(value) for name, value in found.items()}, found.__getitem__)


def _version_5(path: Path, file: BinaryIO) -> Arrays:
    from scipy.io import loadmat, whosmat

    stored = list(elements(file))
    look(path, kind="mat", declared=path.stat().st_size + sum(each.size for each in stored))
    top, sizes = dict[str, Entry](), dict[str, int]()
    for (name, shape, kind), element in zip(whosmat(file), stored, strict=True):
        if not name.startswith("__"):
            shape = tuple(map(int, shape))
            top[name] = _entry(kind, shape, element.is_complex)
            value = int(KINDS.get(kind, "O8")[1]) * (2 if element.is_complex else 1)
            sizes[name] = max(element.size, value * math.prod(shape))
    held: dict[str, NDArray[Any]] = {}

    def read(name: str) -> NDArray[Any]:
        if name in held:
            return held[name]
        check_memory(sizes[name], path, f"values in {name}")
        values = np.asarray(loadmat(file, variable_names=[name])[name])
        if values.dtype.kind not in "biufcSU":
            raise ValueError(f"{name} holds {values.dtype}")
        return values

    def members() -> Mapping[str, Entry]:
        owners = [name for name, entry in top.items() if entry.type == "struct"]
        check_memory(sum(sizes[name] for name in owners), path, "values in structures")
        content = loadmat(file, variable_names=owners) if owners else {}
        for name in owners:
            _flatten(name, content[name], held)
        return {name: _read(value) for name, value in held.items()}

    return Arrays(path, top, read, members)


def _flatten(name: str, value: Any, found: dict[str, NDArray[Any]]) -> None:
    """Add an array, or the members of a structure."""
    if not isinstance(value, np.ndarray) or name.count(".") > NESTED or len(found) > MEMBERS:
        return
    if value.dtype.names is None:
        if value.dtype.kind in "biufcU":
            found[name] = value
    elif value.size == 1 and value.dtype.hasobject:
        for part in value.dtype.names:
            _flatten(f"{name}.{part}", value.flat[0][part], found)


def _entry(kind: str, shape: tuple[int, ...], is_complex: bool) -> Entry:
    """An array of a class of MATLAB."""
    letter = KINDS.get(kind, UNREAD)[0]
    if is_complex and letter in "iuf":
        return Entry(shape, "c", f"complex {kind}")
    return Entry(shape if letter != UNREAD else (), letter, kind)


def _read(value: Any) -> Entry:
    """An array that SciPy has read."""
    if not isinstance(value, np.ndarray):
        return Entry((), UNREAD, "sparse")
    text = value.dtype.kind == "U"
    return Entry(value.shape, value.dtype.kind, "char" if text else value.dtype.name)


def _version_7_3(path: Path, file: Any) -> Arrays:
    places: dict[str, str] = {}
    found: dict[str, Entry] = {}

    def visit(name: str, item: Any) -> None:
        if not name.startswith("#") and len(found) <= MEMBERS:
            spelled = name.replace("/", ".")
            places[spelled], found[spelled] = name, _stored(item)

    file.visititems(visit)
    top = {name: entry for name, entry in found.items() if "." not in name}
    return Arrays(path, top, lambda name: _value(member(file, places[name])), lambda: found)


def _stored(item: Any) -> Entry:
    """An array of version 7.3, by what is said of it."""
    stated = item.attrs.get("MATLAB_class", b"")
    kind = stated.decode("latin-1") if isinstance(stated, bytes) else str(stated)
    if not isinstance(item, h5py.Dataset):
        return Entry((), UNREAD, kind or "group")
    if "MATLAB_empty" in item.attrs or not item.shape:
        return Entry((), UNREAD, f"empty {kind}".strip())
    shape, is_complex = item.shape[::-1], item.dtype.names == ("real", "imag")
    if not kind and (is_complex or item.dtype.kind in "biuf"):
        kind = item.dtype["real"].name if is_complex else item.dtype.name
        return Entry(shape, "c" if is_complex else item.dtype.kind, kind)
    fits = is_complex or item.dtype.kind in "biuf"
    return _entry(kind, shape, is_complex) if fits else Entry((), UNREAD, kind or str(item.dtype))


def _value(item: Any) -> NDArray[Any]:
    """An array as MATLAB shows it; a text for each row of characters."""
    if item.dtype.names == ("real", "imag"):
        declared = item.size * item.dtype.itemsize
        if item.external or item.is_virtual:
            raise ValueError(f"the values of {item.name} are in another file")
        if declared > max(2**16, INFLATES * item.id.get_storage_size()):
            raise ValueError(f"{item.name} declares more than the file holds")
        check_memory(2 * declared, item.file.filename, f"values in {item.name}")
        parts = item[()]
        made: NDArray[Any] = (parts["real"] + 1j * parts["imag"]).T
        return made
    text = _stored(item).kind == "U"
    values = array(item, "biuf", single=not text and item.size > EXACT).T
    if text:
        rows = values.reshape(-1, values.shape[-1]).tolist()
        return np.array(["".join(map(chr, row)) for row in rows])
    return values

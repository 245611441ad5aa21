"""HDF5 files that may be damaged or misstate their size, and the checksum seal of medscore.

The HDF5 library can loop forever, or ask for gigabytes, on a file with a few flipped bits. So a
file that medscore writes carries a checksum in the user block that HDF5 leaves free at the
beginning, and the checksum is verified before the library sees the file. Files of other programs,
which have none, are read by a child process first (:mod:`medscore.io.probe`), and so are files
with a seal that hold what medscore does not write.

A link or an array may lead to another file, which the writer of the file chose. Such files are
refused.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
from numpy.typing import NDArray

from medscore.errors import reading
from medscore.io.budget import check_memory, in_gib
from medscore.io.hdf5_checks import check_content, has_other_filters
from medscore.io.opening import open_file, read_bytes, regular_file
from medscore.io.probe import look

INFLATES = 1100
"""Deflate expands a byte to at most 1032; an array that declares more than this multiple of its
stored bytes is not in the file."""

SEAL, SEAL_SIZE = b"medscore sha256 ", 512
"""Beginning of the user block, and its size."""

SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""First bytes of an HDF5 file, or of what follows its user block."""

CHUNK = 2**20
"""Bytes hashed at a time."""

SLAB = 2**24
"""Bytes of an array that are converted at a time."""


def is_hdf5(path: str | os.PathLike[str]) -> bool:
    """True if a regular file is HDF5 by its signature, or by its name.

    Args:
        path: the file.

    Raises:
        MedscoreError: it is no regular file.
    """
    with open_file(path) as file:
        begins = file.read(SEAL_SIZE + len(SIGNATURE))
    found = begins.startswith(SIGNATURE) or begins[SEAL_SIZE:] == SIGNATURE
    return found or os.fspath(path).lower().endswith((".h5", ".hdf5", ".hdf"))


@contextmanager
def open_hdf5(path: str | os.PathLike[str], kind: str = "HDF5", hint: str = "") -> Iterator[Any]:
    """Open an HDF5 file for reading; an exception in the block becomes a MedscoreError.

    A file without a valid seal is read by a child process first.

    Args:
        path: the file.
        kind: format of the file in messages, such as fastMRI.
        hint: what the user can do if it cannot be read.

    Raises:
        MedscoreError: it is no such file, is damaged, refers to other files, or anything in the
            block fails.
    """
    path = regular_file(path)
    if is_sealed(path):
        with open_hashed(path, kind, hint) as (file, _):
            yield file
        return
    look(path)
    with reading(kind, path, hint), h5py.File(path, "r") as file:
        check_content(file)
        yield file


@contextmanager
def open_hashed(
    path: str | os.PathLike[str], kind: str = "HDF5", hint: str = ""
) -> Iterator[tuple[Any, str]]:
    """Open an HDF5 file and hash it: the bytes that are parsed are those that were hashed.

    Args:
        path: the file.
        kind: see :func:`open_hdf5`.
        hint: see :func:`open_hdf5`.

    Returns:
        The file, and its SHA-256.

    Raises:
        MedscoreError: as :func:`open_hdf5`, or the checksum in the seal is not that of the content.
    """
    with open_file(path) as opened, reading(kind, Path(path), hint):
        sha256 = checked_sha256(opened)
        without_seal = opened.read(len(SEAL)) != SEAL
        opened.seek(0)
        if without_seal:
            look(Path(path))
        with h5py.File(opened, "r") as file:
            check_content(file)
            if not without_seal and has_other_filters(file):
                look(Path(path))
            yield file, sha256


def member(group: Any, name: str) -> Any:
    """A member of an open HDF5 group, but not through a soft link.

    Args:
        group: the group, or the file.
        name: its name, possibly with slashes.

    Raises:
        KeyError: there is none of that name.
        ValueError: it is a link.
    """
    for part in filter(None, name.split("/")):
        link = group.get(part, getlink=True) if isinstance(group, h5py.Group) else None
        if link is None:
            raise KeyError(f"there is no {name!r}")
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"{name} is a link")
        group = group[part]
    return group


def has_member(group: Any, name: str) -> bool:
    """True if a group has a member, or a link, of a name.

    Args:
        group: the group, or the file.
        name: the name, without slashes.
    """
    return isinstance(group, h5py.Group) and group.get(name, getlink=True) is not None


def sealed(content: bytes) -> bytes:
    """Seal a file: put the checksum of everything after the user block into it.

    Args:
        content: bytes of an HDF5 file made with ``userblock_size=SEAL_SIZE``.
    """
    rest = content[SEAL_SIZE:]
    block = SEAL + hashlib.sha256(rest).hexdigest().encode() + b"\n"
    return block.ljust(SEAL_SIZE, b"\0") + rest


def is_sealed(path: str | Path) -> bool:
    """True if a file carries a seal, valid or not.

    Args:
        path: any file.

    Raises:
        MedscoreError: it is no regular file.
    """
    with open_file(path) as file:
        return file.read(len(SEAL)) == SEAL


def seal(path: str | Path) -> None:
    """Seal a measurement file again after an intended change.

    Args:
        path: measurement file.
    """
    path = Path(path)
    path.write_bytes(sealed(read_bytes(path)))


def checked_sha256(file: BinaryIO) -> str:
    """Hash a file, and verify its seal if it has one, in one pass.

    Args:
        file: open file, at its beginning; afterwards again at its beginning.

    Returns:
        SHA-256 of the whole file.

    Raises:
        ValueError: the checksum in the seal is not that of the content.
    """
    block = file.read(SEAL_SIZE)
    whole, rest = hashlib.sha256(block), hashlib.sha256()
    while chunk := file.read(CHUNK):
        whole.update(chunk)
        rest.update(chunk)
    file.seek(0)
    stated = block[len(SEAL) : len(SEAL) + 64]
    if block.startswith(SEAL) and stated != rest.hexdigest().encode():
        raise ValueError("damaged, or changed without medscore.io.hdf5.seal: the checksum differs")
    return whole.hexdigest()


def array(dataset: Any, kinds: str, *, single: bool = True) -> NDArray[Any]:
    """Read a whole dataset after checking that the file can hold it.

    Args:
        dataset: member of an open HDF5 file.
        kinds: NumPy's letters of the kinds of values that are accepted.
        single: convert numbers to single precision, and integers to float32.

    Raises:
        ValueError: it is not an array, is of another kind, or declares more than the file holds.
    """
    name = getattr(dataset, "name", "?")
    if not hasattr(dataset, "dtype") or not hasattr(dataset, "shape") or dataset.shape is None:
        raise ValueError(f"{name} is not an array")
    if dataset.shape == ():
        raise ValueError(f"{name} has shape (), expected an array")
    if dataset.dtype.kind not in kinds:
        raise ValueError(f"{name} holds {dataset.dtype}, expected one of the kinds {kinds!r}")
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"the values of {name} are in another file")
    declared = dataset.size * dataset.dtype.itemsize
    if declared > 2**16 and declared > INFLATES * dataset.id.get_storage_size():
        raise ValueError(f"{name} declares {in_gib(declared)} that the file does not hold")
    target = dataset.dtype
    if single and target.kind in "iufc":
        target = np.dtype(np.complex64 if target.kind == "c" else np.float32)
    check_memory(dataset.size * target.itemsize, dataset.file.filename, f"values in {name}")
    if target == dataset.dtype or not dataset.shape[0]:
        return np.asarray(dataset[()], dtype=target)
    values = np.empty(dataset.shape, target)
    rows = max(1, SLAB // max(1, declared // dataset.shape[0]))
    if dataset.chunks:
        rows = max(1, rows // dataset.chunks[0]) * dataset.chunks[0]
    with np.errstate(over="ignore"):  # becomes infinite, which is refused later
        for start in range(0, len(values), rows):
            values[start : start + rows] = dataset[start : start + rows]
    return values

"""HDF5 files that may be broken or lie: arrays checked for their size, and a seal on our own.

The HDF5 library can loop for ever, or ask for gigabytes, on a file with a few bits flipped. So what
medscore writes bears a checksum in the user block that HDF5 leaves free at a file's beginning, and
it is checked before the library sees the file. Files without one, of other programs, are read too.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

INFLATES = 1100
"""Deflate makes at most 1032 bytes of one; an array that declares more than so many times what the
file stores of it is mostly air."""

SEAL, SEAL_SIZE = b"medscore sha256 ", 512
"""How the user block begins, and its size."""


def sealed(content: bytes) -> bytes:
    """A file made with ``userblock_size=SEAL_SIZE``, with the checksum of all that follows."""
    rest = content[SEAL_SIZE:]
    block = SEAL + hashlib.sha256(rest).hexdigest().encode() + b"\n"
    return block.ljust(SEAL_SIZE, b"\0") + rest


def is_sealed(path: Path) -> bool:
    """Whether a file bears a seal, be it right or wrong."""
    with path.open("rb") as file:
        return file.read(len(SEAL)) == SEAL


def seal(path: Path) -> None:
    """Seal a measurement file again, after a change that is meant."""
    path.write_bytes(sealed(path.read_bytes()))


def check_seal(path: Path) -> None:
    """Check the checksum of a file that bears one.

    Raises:
        ValueError: it is not that of the content.
    """
    with path.open("rb") as file:
        block = file.read(SEAL_SIZE)
        if not block.startswith(SEAL):
            return
        found = hashlib.file_digest(file, "sha256").hexdigest().encode()
    if block[len(SEAL) : len(SEAL) + len(found)] != found:
        raise ValueError("damaged, or changed without medscore.io.hdf5.seal: another checksum")


def array(dataset: Any, kinds: str, *, single: bool = True) -> NDArray[Any]:
    """All of a dataset.

    Args:
        kinds: NumPy's letters of what it may hold. single: numbers in single precision; integers
            become float32.

    Raises:
        ValueError: no dataset, another kind, or a declared size that the file does not hold.
    """
    name = getattr(dataset, "name", "?")
    if not hasattr(dataset, "dtype") or not hasattr(dataset, "shape") or dataset.shape is None:
        raise ValueError(f"{name} is no array")
    if dataset.shape == ():
        raise ValueError(f"{name} has shape (), expected an array")
    if dataset.dtype.kind not in kinds:
        raise ValueError(f"{name} holds {dataset.dtype}, expected one of the kinds {kinds!r}")
    declared = dataset.size * dataset.dtype.itemsize
    if declared > 2**16 and declared > INFLATES * dataset.id.get_storage_size():
        raise ValueError(f"{name} declares {declared / 2**30:.2g} GiB that the file does not hold")
    values: NDArray[Any] = dataset[()]
    if not single or values.dtype.kind not in "iufc":
        return values
    with np.errstate(over="ignore"):  # becomes infinite, which is refused
        target = np.complex64 if values.dtype.kind == "c" else np.float32
        return values.astype(target, copy=False)

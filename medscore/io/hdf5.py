"""HDF5 files that may be damaged or misstate their size, and the checksum seal of medscore.

The HDF5 library can loop forever, or ask for gigabytes, on a file with a few flipped bits. So a
file that medscore writes carries a checksum in the user block that HDF5 leaves free at the
beginning, and the checksum is verified before the library sees the file. Files of other programs,
which have none, are read too.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

INFLATES = 1100
"""Deflate expands a byte to at most 1032; an array that declares more than this multiple of its
stored bytes is not in the file."""

SEAL, SEAL_SIZE = b"medscore sha256 ", 512
"""Beginning of the user block, and its size."""

CHUNK = 2**20
"""Bytes hashed at a time."""


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
    """
    with Path(path).open("rb") as file:
        return file.read(len(SEAL)) == SEAL


def seal(path: str | Path) -> None:
    """Seal a measurement file again after an intended change.

    Args:
        path: measurement file.
    """
    path = Path(path)
    path.write_bytes(sealed(path.read_bytes()))


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
    declared = dataset.size * dataset.dtype.itemsize
    if declared > 2**16 and declared > INFLATES * dataset.id.get_storage_size():
        raise ValueError(f"{name} declares {declared / 2**30:.2g} GiB that the file does not hold")
    values: NDArray[Any] = dataset[()]
    if not single or values.dtype.kind not in "iufc":
        return values
    with np.errstate(over="ignore"):  # becomes infinite, which is refused later
        target = np.complex64 if values.dtype.kind == "c" else np.float32
        return values.astype(target, copy=False)

"""The elements of MATLAB files of version 5 by their tags, before SciPy reads them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from medscore.io.hdf5 import INFLATES
from medscore.io.mat_tags import MATRIX, Inflated, Stored, Stream, check_tags

COMPRESSED, COMPLEX = 15, 0x800
"""Type of a compressed element, and the flag of an array of complex numbers."""

ORDERS = {b"IM": "<", b"MI": ">"}
"""Order of bytes by the mark at the end of the header of a file."""


class Element(NamedTuple):
    """An element of a MATLAB file of version 5, as its tags declare it.

    Attributes:
        size: its bytes, decompressed.
        is_complex: whether it is an array of complex numbers.
    """

    size: int
    is_complex: bool


def elements(file: BinaryIO) -> Iterator[Element]:
    """The elements of a MATLAB file of version 5, which are its arrays in their order.

    Args:
        file: the open file.

    Raises:
        ValueError: the file is cut short, its order of bytes is not stated, an element declares
            more than its compressed bytes can hold, or its tags are not valid.
    """
    size = file.seek(0, 2)
    file.seek(126)
    mark = file.read(2)
    if mark not in ORDERS:
        raise ValueError("the header does not state the order of bytes")
    order = ORDERS[mark]
    place = 128
    while place + 8 <= size:
        file.seek(place)
        kind, length = struct.unpack(f"{order}II", file.read(8))
        if length > size - place - 8:
            raise ValueError(f"cut short: an element declares {length:,} bytes")
        begins, declared = file.read(min(length, 512)), length
        if kind == COMPRESSED:
            begins = zlib.decompressobj().decompress(begins, 24)
            if len(begins) < 8:
                raise ValueError("cut short: a compressed element is empty")
            declared = struct.unpack(f"{order}II", begins[:8])[1]
            if declared > 2**16 + INFLATES * length:
                raise ValueError(f"an element declares {declared:,} bytes that it does not hold")
            begins = begins[8:]
        _check_tags(file, place + 8, kind, length, order)
        flags = struct.unpack(f"{order}I", begins[8:12])[0] if len(begins) >= 12 else 0
        yield Element(declared, bool(flags & COMPLEX))
        place += 8 + length


def _check_tags(file: BinaryIO, place: int, kind: int, length: int, order: str) -> None:
    """Check what is in an element, compressed or not, if it is an array."""
    file.seek(place)
    stream: Stream = Stored(file)
    if kind == COMPRESSED:
        stream = Inflated(file, length)
        kind, length = struct.unpack(f"{order}II", stream.take(8))
    if kind == MATRIX:
        check_tags(stream, length, order)


def is_version_4(header: bytes) -> bool:
    """True if the first bytes of a MATLAB file describe an array as version 4 does.

    Version 4 has no header of the file, and that of an array is five integers: the type, the
    numbers of rows and columns, whether it is complex, and the length of its name.

    Args:
        header: 20 bytes or more.
    """
    if len(header) < 20:
        return False
    for order in "<>":
        form, rows, columns, is_complex, length = struct.unpack(f"{order}5i", header[:20])
        known = 0 <= form < 2000 and form // 100 % 10 == 0 and form % 10 <= 2
        if known and min(rows, columns) >= 0 and is_complex in (0, 1) and 0 < length <= 256:
            return True
    return False

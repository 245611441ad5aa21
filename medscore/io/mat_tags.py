"""The tags within an array of a MATLAB file of version 5, checked before SciPy reads it.

SciPy looks up the type of an element in a table without checking its bounds, so a type that does
not exist can crash the interpreter, or not, as memory happens to lie. Tags are read one after the
other, without the values; compressed arrays are inflated piece by piece.
"""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO, Protocol, runtime_checkable

MATRIX = 14
"""Type of an array."""

VALUES = {1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 16, 17, 18}
"""Types of numbers and texts."""

DEEPEST = 100
"""Deepest array within arrays."""

PIECE = 2**13
"""Bytes that are inflated at a time."""


@runtime_checkable
class Stream(Protocol):
    """Bytes from which one reads forwards."""

    def take(self, count: int) -> bytes:
        """The next bytes; fewer at the end."""

    def skip(self, count: int) -> None:
        """Pass over bytes."""


class Stored:
    """The bytes of a file from its present position.

    Args:
        file: the open file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def take(self, count: int) -> bytes:
        return self._file.read(count)

    def skip(self, count: int) -> None:
        self._file.seek(count, 1)


class Inflated:
    """The inflated bytes of a part of a file from its present position.

    Args:
        file: the open file.
        length: compressed bytes.
    """

    def __init__(self, file: BinaryIO, length: int) -> None:
        self._file, self._left = file, length
        self._inflate, self._held = zlib.decompressobj(), b""

    def take(self, count: int) -> bytes:
        while len(self._held) < count and self._more():
            pass
        found, self._held = self._held[:count], self._held[count:]
        return found

    def skip(self, count: int) -> None:
        while count > 0 and (self._held or self._more()):
            passed = min(count, len(self._held))
            self._held, count = self._held[passed:], count - passed

    def _more(self) -> bool:
        """Inflate another piece; False at the end."""
        fed = self._inflate.unconsumed_tail
        if not fed:
            fed = self._file.read(min(self._left, PIECE))
            self._left -= len(fed)
        before = len(self._held)
        if fed:
            self._held += self._inflate.decompress(fed, PIECE)
        return bool(fed) or len(self._held) > before


def check_tags(stream: Stream, length: int, order: str, depth: int = 0) -> None:
    """Check the elements of an array, and of the arrays in it.

    Args:
        stream: the bytes after the array's tag.
        length: bytes of the array.
        order: order of bytes, "<" or ">".
        depth: number of arrays around this one.

    Raises:
        ValueError: an element is of no type that exists, or longer than what holds it, or arrays
            are nested too deeply.
    """
    if depth > DEEPEST:
        raise ValueError(f"arrays are nested more than {DEEPEST} deep")
    left = length
    while left >= 8:
        tag = stream.take(8)
        if len(tag) < 8:
            raise ValueError("cut short: an array ends within an element")
        kind, size = struct.unpack(f"{order}II", tag)
        left -= 8
        if small := kind >> 16:  # the values are in the tag
            kind &= 0xFFFF
            if small > 4:
                raise ValueError(f"an element in a tag declares {small} bytes")
            size = 0
        if size > left:
            raise ValueError(f"an element declares {size:,} bytes, its array has {left:,} left")
        if kind == MATRIX and not small:
            check_tags(stream, size, order, depth + 1)
        elif kind in VALUES:
            stream.skip(size)
        else:
            raise ValueError(f"an element is of type {kind}, which does not exist")
        padding = min(-size % 8, left - size)
        stream.skip(padding)
        left -= size + padding
    stream.skip(left)

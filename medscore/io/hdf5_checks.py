"""What an HDF5 file must not contain: references to other files, and chunks that crash the library.

A link or an array may lead to another file, which the writer of the file chose. And an array that
is stored in chunks states the size of each one: the HDF5 library believes it, and reads beyond the
chunk where a checksum (fletcher32) or a shuffle filter expects more bytes than there are.
"""

from __future__ import annotations

import math
from typing import Any

import h5py
from h5py.h5z import FILTER_DEFLATE, FILTER_FLETCHER32, FILTER_SHUFFLE

CHECKSUM = 4
"""Bytes that the filter fletcher32 appends to a chunk."""


def check_content(file: Any) -> None:
    """Reject an HDF5 file that refers to other files or has chunks of a wrong size.

    Args:
        file: open HDF5 file.

    Raises:
        ValueError: a link or the values of an array lead to another file, or a chunk is too short.
    """

    def link(name: bytes, info: Any) -> str | None:
        inside = info.type in (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT)
        return None if inside else f"{name.decode(errors='replace')} is a link to another file"

    def item(name: str, found: Any) -> str | None:
        if not isinstance(found, h5py.Dataset):
            return None
        if found.external or found.is_virtual:
            return f"the values of {name} are in another file"
        return f"a chunk of {name} has a wrong size" if _wrong_chunk(found) else None

    fault = file.id.links.visit(link, info=True) or file.visititems(item)
    if fault is not None:
        raise ValueError(fault)


def has_other_filters(file: Any) -> bool:
    """True if an array is stored with filters that medscore does not write.

    A seal is no signature: anybody can make one. Damaged chunks crash the library through some of
    its filters, but not through these.

    Args:
        file: open HDF5 file.
    """

    def item(name: str, found: Any) -> bool | None:
        if not isinstance(found, h5py.Dataset):
            return None
        return True if _filters(found) - {FILTER_DEFLATE, FILTER_SHUFFLE} else None

    return bool(file.visititems(item))


def _filters(dataset: Any) -> set[int]:
    """Numbers of the filters of an array."""
    stored = dataset.id.get_create_plist()
    return {stored.get_filter(k)[0] for k in range(stored.get_nfilters())}


def _wrong_chunk(dataset: Any) -> bool:
    """True if a stored chunk is shorter than its filters need, or not as long as they make it."""
    filters = _filters(dataset)
    if not dataset.chunks or not filters:
        return False
    values = math.prod(dataset.chunks) * dataset.dtype.itemsize
    checksum = CHECKSUM if FILTER_FLETCHER32 in filters else 0
    compressed = bool(filters - {FILTER_SHUFFLE, FILTER_FLETCHER32})

    def wrong(chunk: Any) -> bool | None:
        plain = chunk.filter_mask or not compressed
        good = chunk.size >= values if plain else chunk.size > checksum
        return None if good else True

    return bool(dataset.id.chunk_iter(wrong))

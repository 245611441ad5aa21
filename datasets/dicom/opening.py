"""Opening one DICOM file: regular files only, and deflated ones only within the memory budget."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from medscore.errors import MedscoreError, reading
from medscore.io.budget import check_memory
from medscore.io.opening import open_file, regular_file

META = 144
"""Bytes of preamble, prefix and the group length (0002,0000) of the file meta information."""

LARGEST_META = 2**20
"""Largest size of the file meta information that is searched, in bytes."""

PIECE = 2**20
"""Bytes inflated at a time."""


def read_file(path: str | Path, **options: Any) -> Dataset:
    """Read a DICOM file.

    Args:
        path: the file.
        options: of ``pydicom.dcmread``.

    Raises:
        MedscoreError: it is no regular file, no DICOM, damaged, or inflates beyond the budget.
    """
    path = regular_file(path)
    check_deflated(path)
    with reading("DICOM", path):
        return pydicom.dcmread(path, **options)


def check_deflated(path: Path) -> None:
    """Refuse a deflated file whose content exceeds the budget, without keeping the content.

    Args:
        path: a regular file, DICOM or not.

    Raises:
        MedscoreError: it exceeds the budget, or the length of its meta information is missing.
    """
    with open_file(path) as file:
        head = file.read(META)
        stated = head[128:136] == b"DICM\x02\x00\x00\x00" and head[136:138] == b"UL"
        length = int.from_bytes(head[140:144], "little") if stated else LARGEST_META
        meta = file.read(min(length, LARGEST_META))
        if DeflatedExplicitVRLittleEndian.encode() not in meta:
            return
        if not stated or length > LARGEST_META:
            raise MedscoreError(
                "is deflated, but the length of its meta information is missing", where=path,
                hint="export it again",
            )  # fmt: skip
        inflater, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
        rest = file.read(PIECE)
        while rest:
            try:
                size += len(inflater.decompress(rest, PIECE))
            except zlib.error:  # the reader reports it
                return
            check_memory(2 * size, path, "pixels")
            rest = inflater.unconsumed_tail or (b"" if inflater.eof else file.read(PIECE))

"""The forms in which DICOM files lie on disk: with a preamble, without one, or compressed by gzip.

DICOM PS3.10 7.1 requires 128 bytes and the prefix DICM. Files without them, as old software writes
them, are recognised by a plausible first element, of group 0002 or 0008, and by what they hold.
"""

from __future__ import annotations

import gzip
import io
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pydicom.valuerep import VR

from medscore.datasets.dicom.opening import read_file
from medscore.errors import reading
from medscore.io.budget import check_memory
from medscore.io.opening import is_regular, open_file, read_bytes

PREAMBLE, GZIP = 132, b"\x1f\x8b"
"""Bytes before the first element, and the beginning of a gzip file."""

PIECE = 2**22
"""Bytes inflated at a time."""

SUFFIXES = ("", ".dcm", ".dicom", ".dic", ".dc3", ".ima", ".img", ".acr", ".gz")
"""Endings, besides numbers, of files that a folder of DICOM files holds as slices."""

COMPANIONS = ("DICOMDIR", "README", "LICENSE", "LICENCE", "VERSION", "INDEX", "COPYING", "CHANGES")
"""Names without an ending of files that accompany an export."""

_VRS = {str(vr).encode() for vr in VR if len(str(vr)) == 2}
_HEAD = 4096


def is_dicom(path: str | Path) -> bool:
    """True if a file is DICOM by its first bytes, in any of the forms.

    Args:
        path: an existing file.
    """
    return _start(_head(Path(path))) is not None


def read_dataset(path: Path, **options: Any) -> Dataset:
    """Read a DICOM file in any of its forms.

    Args:
        path: the file.
        options: of ``pydicom.dcmread``.

    Raises:
        MedscoreError: it is no regular file, no DICOM, damaged, or inflates beyond the budget.
    """
    with open_file(path) as file:
        head = file.read(PREAMBLE)
    start = None if head[128:] == b"DICM" else _start(_head(path))
    if start is None:
        return read_file(path, **options)  # which says why it is no DICOM, if it is none
    options.pop("defer_size", None)
    with reading("DICOM", path):
        content = _inflated(path) if head.startswith(GZIP) else read_bytes(path)
        if DeflatedExplicitVRLittleEndian.encode() in content[:_HEAD]:
            raise ValueError("deflated, without a preamble or compressed by gzip as well")
        if content[128:132] == b"DICM":
            return pydicom.dcmread(io.BytesIO(content), **options)
        dataset = pydicom.dcmread(io.BytesIO(content[start:]), force=True, **options)
        if not any(k in dataset for k in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID")):
            raise ValueError("it has no DICOM header")
        if not hasattr(dataset, "file_meta"):
            dataset.file_meta = FileMetaDataset()
        if "TransferSyntaxUID" not in dataset.file_meta:
            implicit, little = dataset.original_encoding
            explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
        return dataset


@contextmanager
def quiet() -> Iterator[None]:
    """Silence pydicom's warnings of values that it reads all the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def left_out(path: Path, like: frozenset[str] = frozenset()) -> str | None:
    """Why a file of a DICOM folder cannot be used, if it may be a slice; None for companions.

    Hidden files, indexes, texts and the like are companions.

    Args:
        path: a file that is not DICOM.
        like: endings of the DICOM files of the folder, in lower case.
    """
    suffix = path.suffix.lower()
    known = suffix in SUFFIXES or suffix in like or suffix[1:].isdigit()
    if path.name.startswith(".") or path.name.upper() in COMPANIONS or not known:
        return None
    if path.name.lower().endswith((".nii.gz", ".tar.gz")):
        return None
    if not is_regular(path):
        return "a link to nothing" if path.is_symlink() and not path.exists() else "no regular file"
    with open_file(path) as file:
        head = file.read(_HEAD)
    if not head:
        return "empty"
    return "not DICOM" if any(head) else "zeros"


def _head(path: Path) -> bytes:
    """The first bytes, inflated if they are compressed; none if they cannot be."""
    with open_file(path) as file:
        head = file.read(_HEAD)
    if not head.startswith(GZIP):
        return head
    try:
        return zlib.decompressobj(wbits=31).decompress(head, _HEAD)
    except zlib.error:
        return b""


def _inflated(path: Path) -> bytes:
    """Content of a gzip file, within the memory budget."""
    pieces, size = [], 0
    with open_file(path) as packed, gzip.open(packed) as file:
        while piece := file.read(PIECE):
            size += len(piece)
            check_memory(2 * size, path, "pixels")
            pieces.append(piece)
    return b"".join(pieces)


def _start(head: bytes) -> int | None:
    """Place of the first element; ``None`` if there is none."""
    if head[128:PREAMBLE] == b"DICM" or (_plausible(head[PREAMBLE:]) and not any(head[:PREAMBLE])):
        return PREAMBLE
    return 0 if _plausible(head) else None


def _plausible(head: bytes) -> bool:
    """True if the bytes begin with an element of the group 0002 or 0008 of a reasonable length."""
    if len(head) < 8:
        return False
    little = head[0] in (2, 8) and head[1] == 0 and head[2] <= 0x70 and head[3] == 0
    big = head[1] in (2, 8) and head[0] == 0 and head[3] <= 0x70 and head[2] == 0
    if head[4:6] in _VRS:
        return little or big
    return little and 0 < int.from_bytes(head[4:8], "little") <= 1024

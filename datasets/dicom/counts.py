"""The number of frames that a header states, compared with the pixel data before they are used."""

from __future__ import annotations

from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.encaps import parse_basic_offsets, parse_fragments
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import RLELossless

from medscore.errors import MedscoreError, reading

UNDEFINED = 0xFFFFFFFF
"""Length of compressed pixel data."""


def frame_count(path: Path, dataset: Dataset) -> int:
    """Number of frames, checked against the length of the pixel data and the functional groups.

    Args:
        path: the file.
        dataset: its content, with pixel data.

    Raises:
        MedscoreError: there are more or fewer frames in the pixel data than the header states.
    """
    with reading("DICOM", path):
        count = int(dataset.get("NumberOfFrames", 1) or 1)
        groups = len(dataset.get("PerFrameFunctionalGroupsSequence") or ()) or count
        element = dataset.get_item("PixelData")
        length = getattr(element, "length", None)
        native = not dataset.file_meta.TransferSyntaxUID.is_encapsulated and length != UNDEFINED
        if native:
            held = _native(dataset, length, count)
        else:
            held = count if count == 1 else _encapsulated(dataset, count)
    if count < 1 or held != count:
        raise MedscoreError(
            f"NumberOfFrames is {count}, but the pixel data hold {held}",
            where=path,
            hint="the file is truncated or damaged: export it again",
        )
    if groups != count:
        raise MedscoreError(
            f"NumberOfFrames is {count}, but {groups} frames are described",
            where=path,
            hint="the file is damaged: export it again",
        )
    return count


def _native(dataset: Dataset, length: int | None, count: int) -> int:
    """Whole frames in pixel data that are not compressed; ``count`` where their size is unknown."""
    if count < 1 or not all(k in dataset for k in ("Rows", "Columns", "BitsAllocated")):
        return count
    if length is None:
        length = len(dataset.PixelData)
    whole = get_expected_length(dataset)
    if count == 1 and length < whole:
        return count  # truncated, which decoding reports
    one = whole / count
    return int(length / one) if one else count


def _encapsulated(dataset: Dataset, count: int) -> int:
    """Frames in compressed pixel data: as many as the offset table has, and a fragment at least."""
    content = dataset.PixelData
    offsets = len(parse_basic_offsets(content))
    if "ExtendedOffsetTable" in dataset:
        offsets = len(dataset.ExtendedOffsetTable) // 8
    if offsets:
        return offsets
    fragments, _ = parse_fragments(content[_table_length(content) :])
    syntax = dataset.file_meta.TransferSyntaxUID
    return fragments if fragments < count or syntax == RLELossless else count


def _table_length(content: bytes) -> int:
    """Bytes of the basic offset table with its tag and length."""
    return 8 + int.from_bytes(content[4:8], "little")

"""Changes to the elements of a DICOM file, in the encoding of its transfer syntax."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom.filereader import dcmread
from pydicom.uid import AllTransferSyntaxes

from attacks.base import Mutator, in_folder
from attacks.dicom_elements import PIXELS, UNDEFINED, Element, Parsed, build, parse, set_element
from attacks.raw import BYTES
from attacks.values import TEXTS

VRS = [
    "AE",
    "AS",
    "AT",
    "CS",
    "DA",
    "DS",
    "DT",
    "FL",
    "FD",
    "IS",
    "LO",
    "LT",
    "OB",
    "OD",
    "OF",
    "OL",
    "OW",
    "PN",
    "SH",
    "SL",
    "SQ",
    "SS",
    "ST",
    "TM",
    "UI",
    "UL",
    "UN",
    "US",
    "UT",
    "XX",
]
NUMBERS = {
    "Rows": 0x00280010, "Columns": 0x00280011, "BitsAllocated": 0x00280100,
    "BitsStored": 0x00280101,
    "HighBit": 0x00280102, "PixelRepresentation": 0x00280103, "SamplesPerPixel": 0x00280002,
    "PlanarConfiguration": 0x00280006, "NumberOfFrames": 0x00280008,
}  # fmt: skip
GEOMETRY = (
    0x00280030, 0x00200032, 0x00200037, 0x00180050, 0x00281052, 0x00281053, 0x00180088, 0x00200013,
    0x00201041, 0x00281050, 0x00281051, 0x00280120,
)  # fmt: skip
"""Tags of spacing, position, orientation, thickness, rescaling, window and padding."""

TAGS = (0, 0x00020010, 0x00081111, 0x7FE00008, 0x7FE00010, 0xFFFEE000, 0xFFFEE0DD)
"""Tags that have a meaning of their own, or none, where another element stands."""

LISTS = (
    "0", "0\\0", "1\\1", "1e999\\1", "nan\\nan", "1\\2\\3", "1\\2\\3\\4\\5\\6", "", "-1\\-1", "-3",
    "1e-300\\1e-300", "1e300\\1e300", "\\", "abc", "1,5", "3\0", "3 \\ 3", "0\\0\\0\\0\\0\\0",
    "1e20", "1e-21", "99999999999999999999", "2.5",
)  # fmt: skip


def _edits(change: Callable[[Parsed, np.random.Generator], Parsed | None]) -> Mutator:
    """A change to the parts of a file; of a random file, if it is given a folder."""

    def mutate(path: Path, rng: np.random.Generator) -> None:
        parsed = parse(path.read_bytes())
        path.write_bytes(build(change(parsed, rng) or parsed))

    mutate.__name__ = change.__name__
    return in_folder(mutate)


def _any(parsed: Parsed, rng: np.random.Generator) -> int:
    return int(rng.integers(len(parsed.elements)))


@_edits
def lengths(parsed: Parsed, rng: np.random.Generator) -> None:
    """Declare another length than that of the value."""
    k = _any(parsed, rng)
    element = parsed.elements[k]
    true = len(element.value)
    others = (true + 1, true + 2, true - 2, 0, 2**16 - 2, 2**31, UNDEFINED, UNDEFINED - 1, 3)
    parsed.elements[k] = replace(element, length=others[int(rng.integers(len(others)))])


@_edits
def representations(parsed: Parsed, rng: np.random.Generator) -> None:
    """Give one to three elements another value representation."""
    for _ in range(int(rng.integers(1, 4))):
        k = _any(parsed, rng)
        parsed.elements[k] = replace(parsed.elements[k], vr=VRS[int(rng.integers(len(VRS)))])


@_edits
def texts(parsed: Parsed, rng: np.random.Generator) -> None:
    """Replace the value of one to three elements by an extreme text."""
    for _ in range(int(rng.integers(1, 4))):
        element = parsed.elements[_any(parsed, rng)]
        if element.tag != PIXELS:
            text = TEXTS[int(rng.integers(len(TEXTS)))]
            set_element(parsed, element.tag, element.vr, text.encode(errors="replace"))


@_edits
def embedded_nuls(parsed: Parsed, rng: np.random.Generator) -> None:
    """Put NULs into the text of an element."""
    element = parsed.elements[_any(parsed, rng)]
    if element.tag != PIXELS:
        half = len(element.value) // 2
        set_element(
            parsed, element.tag, element.vr, element.value[:half] + b"\0\0" + element.value[half:]
        )


@_edits
def matrix(parsed: Parsed, rng: np.random.Generator) -> None:
    """Set one to three of the numbers that describe the pixels."""
    values = (0, 1, 2, 3, 7, 8, 12, 15, 16, 17, 31, 32, 33, 64, 255, 256, 4096, 32767, 65535)
    names = list(NUMBERS)
    for _ in range(int(rng.integers(1, 4))):
        tag = NUMBERS[names[int(rng.integers(len(names)))]]
        number = int(rng.choice(values))
        if tag == NUMBERS["NumberOfFrames"]:
            set_element(parsed, tag, "IS", str(number).encode())
        else:
            end = "<" if parsed.little else ">"
            set_element(parsed, tag, "US", struct.pack(f"{end}H", number))


@_edits
def frames(parsed: Parsed, rng: np.random.Generator) -> None:
    """State another number of frames."""
    texts = ("0", "-1", "2", "3", "5", "1\0", "99999", "65536", "2147483647", "4294967297", "1e9",
             "nan", "", "1\\2", "1.5", " 1", "9" * 400)  # fmt: skip
    set_element(
        parsed, NUMBERS["NumberOfFrames"], "IS", texts[int(rng.integers(len(texts)))].encode()
    )


@_edits
def geometry(parsed: Parsed, rng: np.random.Generator) -> None:
    """Set one or two of the numbers that place the image."""
    for _ in range(int(rng.integers(1, 3))):
        tag = GEOMETRY[int(rng.integers(len(GEOMETRY)))]
        set_element(parsed, tag, "DS", LISTS[int(rng.integers(len(LISTS)))].encode())


@_edits
def order(parsed: Parsed, rng: np.random.Generator) -> None:
    """Drop, double, move or rename elements."""
    k, other = _any(parsed, rng), _any(parsed, rng)
    elements, kind = parsed.elements, int(rng.integers(4))
    if kind == 0:
        del elements[k]
    elif kind == 1:
        elements.insert(other, elements[k])
    elif kind == 2:
        elements[k], elements[other] = elements[other], elements[k]
    else:
        elements[k] = replace(elements[k], tag=int(rng.choice(TAGS)))


@_edits
def nesting(parsed: Parsed, rng: np.random.Generator) -> None:
    """Insert sequences that are nested 2 to 3,000 deep, with or without their ends."""
    depth = int(rng.choice([2, 50, 900, 3000]))
    end = "<" if parsed.little else ">"
    item = struct.pack(f"{end}HHI", 0xFFFE, 0xE000, UNDEFINED)
    head = struct.pack(f"{end}HH", 0x0008, 0x1140)
    head += struct.pack(f"{end}I", UNDEFINED) if parsed.implicit else b"SQ\0\0" + b"\xff" * 4
    ends = struct.pack(f"{end}HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    value = item + (head + item) * (depth - 1) + (ends * depth if rng.random() < 0.7 else b"")
    parsed.elements.insert(_any(parsed, rng), Element(0x00081140, "SQ", UNDEFINED, value))


@_edits
def pixels(parsed: Parsed, rng: np.random.Generator) -> None:
    """Cut, extend, repeat or overwrite the pixels or their compressed stream."""
    for k, element in enumerate(parsed.elements):
        if element.tag != PIXELS:
            continue
        value, kind = bytearray(element.value), int(rng.integers(6))
        if kind == 0:
            del value[int(rng.integers(len(value))) :]
        elif kind == 1:
            value += rng.bytes(int(rng.choice([1, 2, 1000])))
        elif kind == 2:
            value *= 2
        elif kind == 3:
            for place in rng.integers(0, len(value), 40):
                value[place] ^= 1 << int(rng.integers(8))
        elif kind == 4:
            value[:16] = rng.bytes(16)
        else:
            value = bytearray()
        length = element.length if element.length == UNDEFINED else len(value)
        parsed.elements[k] = replace(element, value=bytes(value), length=length)


@_edits
def syntax(parsed: Parsed, rng: np.random.Generator) -> Parsed:
    """Name another transfer syntax, or none that exists, in the file's meta information."""
    meta = dcmread(io.BytesIO(parsed.head), stop_before_pixels=True, force=True).file_meta
    old = meta.TransferSyntaxUID.encode()
    old += b"\0" * (len(old) % 2)
    uids = [*map(str, AllTransferSyntaxes), "1.2.3", "", "1.2.840.10008.1.2.999", "\n"]
    new = uids[int(rng.integers(len(uids)))].encode()
    return replace(parsed, head=parsed.head.replace(old, new[: len(old)].ljust(len(old), b"\0")))


@_edits
def meta_information(parsed: Parsed, rng: np.random.Generator) -> Parsed:
    """Damage the preamble, the marker or the meta information."""
    head = bytearray(parsed.head)
    kind = int(rng.integers(4))
    if kind == 0:
        head = head[132:]
    elif kind == 1:
        head[140:144] = struct.pack("<I", int(rng.choice([0, 1, 10, 2**31, 2**32 - 1])))
    elif kind == 2:
        head[128:132] = rng.bytes(4)
    else:
        for place in rng.integers(132, len(head), 4):
            head[place] = int(rng.integers(256))
    return replace(parsed, head=bytes(head))


DICOM = (
    lengths, representations, texts, texts, embedded_nuls, matrix, matrix, frames, geometry,
    geometry,
    order, nesting, pixels, syntax, meta_information, *map(in_folder, BYTES),
)  # fmt: skip
"""All changes to DICOM files, or to a file of a folder."""

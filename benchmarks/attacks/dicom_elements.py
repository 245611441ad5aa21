"""A DICOM file as a list of elements, which can be changed and put together again."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass

from pydicom.filereader import data_element_generator, dcmread
from pydicom.tag import Tag

LONG = frozenset(["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"])
"""Value representations whose length has 32 bits in explicit encodings."""

UNDEFINED = 0xFFFFFFFF
PIXELS = Tag(0x7FE0, 0x0010)


@dataclass(frozen=True)
class Element:
    """An element as the file stores it: tag, VR, declared length and value."""

    tag: int
    vr: str
    length: int
    value: bytes


@dataclass(frozen=True)
class Parsed:
    """A file: everything before the dataset, the encoding of the dataset, and its elements."""

    head: bytes
    implicit: bool
    little: bool
    deflated: bool
    elements: list[Element]


def parse(content: bytes) -> Parsed:
    """Take a DICOM file apart.

    Args:
        content: bytes of a valid file with a preamble.
    """
    meta = dcmread(io.BytesIO(content), stop_before_pixels=True)
    syntax = meta.file_meta.TransferSyntaxUID
    start = 144 + int(meta.file_meta.FileMetaInformationGroupLength)
    body = content[start:]
    deflated = bool(syntax.is_deflated)
    if deflated:
        body = zlib.decompress(body, -zlib.MAX_WBITS)
    implicit, little = bool(syntax.is_implicit_VR), bool(syntax.is_little_endian)
    elements = []
    for found in data_element_generator(io.BytesIO(body), implicit, little):
        if found.tag.element == 0 and found.tag.group == 2:
            continue
        value = getattr(found, "value", b"")
        if isinstance(value, bytes):
            vr = str(found.VR or "UN")
            elements.append(Element(int(found.tag), vr, int(found.length), value))
    return Parsed(content[:start], implicit, little, deflated, elements)


def build(parsed: Parsed) -> bytes:
    """Put a DICOM file together.

    Args:
        parsed: its parts.
    """
    end = "<" if parsed.little else ">"
    out = bytearray()
    for element in parsed.elements:
        out += struct.pack(f"{end}HH", element.tag >> 16, element.tag & 0xFFFF)
        length = element.length & UNDEFINED
        if parsed.implicit:
            out += struct.pack(f"{end}I", length)
        elif element.vr in LONG:
            out += element.vr.encode() + bytes(2) + struct.pack(f"{end}I", length)
        else:
            out += element.vr.encode()[:2] + struct.pack(f"{end}H", length & 0xFFFF)
        out += element.value
        if length == UNDEFINED and element.tag == PIXELS:
            out += struct.pack(f"{end}HHI", 0xFFFE, 0xE0DD, 0)
    body = bytes(out)
    if parsed.deflated:
        pack = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
        body = pack.compress(body) + pack.flush()
    return parsed.head + body


def set_element(parsed: Parsed, tag: int, vr: str, value: bytes) -> None:
    """Set the value of an element, or insert it in its place.

    Args:
        parsed: the file.
        tag: tag of the element.
        vr: its value representation.
        value: its value, which is padded to an even length.
    """
    value += (b"\0" if vr in ("UI", "OB") else b" ") if len(value) % 2 else b""
    new = Element(tag, vr, len(value), value)
    for k, element in enumerate(parsed.elements):
        if element.tag >= tag:
            parsed.elements[k : k + (element.tag == tag)] = [new]
            return
    parsed.elements.append(new)

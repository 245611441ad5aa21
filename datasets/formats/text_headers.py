"""The text headers of NRRD and MetaImage files, read before ITK opens the file.

ITK opens whatever file a header names for the voxels, and allocates whatever size it declares. So
the header is read here first: the size is compared with the file and the memory budget, and the
voxels must lie in the file itself or in a regular file of the same folder.

NRRD: http://teem.sourceforge.net/nrrd/format.html. MetaImage: https://itk.org/Wiki/ITK/MetaIO.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from medscore.io.hdf5 import INFLATES
from medscore.io.opening import open_file, regular_file

LONGEST = 2**20
"""Largest size of a header in bytes."""

MOST = 2**40
"""Largest number of voxels along all axes."""

UNITS = {
    "mm": 1.0, "millimeter": 1.0, "millimeters": 1.0, "millimetre": 1.0, "cm": 10.0, "m": 1e3,
    "um": 1e-3, "μm": 1e-3, "µm": 1e-3, "micron": 1e-3, "microns": 1e-3, "?": 1.0, "": 1.0,
}  # fmt: skip
"""Millimetres in a unit of lengths."""

_BYTES = {
    "char": 1, "schar": 1, "uchar": 1, "int8": 1, "int8_t": 1, "uint8": 1, "uint8_t": 1,
    "short": 2, "ushort": 2, "int16": 2, "int16_t": 2, "uint16": 2, "uint16_t": 2,
    "int": 4, "uint": 4, "int32": 4, "int32_t": 4, "uint32": 4, "uint32_t": 4, "float": 4,
    "double": 8, "long": 4, "ulong": 4, "longlong": 8, "ulonglong": 8, "int64": 8, "int64_t": 8,
    "uint64": 8, "uint64_t": 8,
}  # fmt: skip
_WORDS = (("signed ", ""), ("long int", "long"), ("short int", "short"), (" ", ""))


@dataclass(frozen=True)
class Header:
    """What is known of an image before its voxels are read.

    Attributes:
        fields: all fields by name in lower case without blanks.
        shape: numbers of voxels along all axes, the fastest first, with that of vector components.
        voxels: file that holds the voxels.
        bytes_each: size of a number.
        encoding: "raw", "gzip", "bzip2" or "text".
        unit: millimetres in the unit of lengths.
        length: bytes before the voxels, if they are in the same file.
    """

    fields: Mapping[str, str]
    shape: tuple[int, ...]
    voxels: Path
    bytes_each: int
    encoding: str
    unit: float
    length: int

    @property
    def declared(self) -> int:
        """Bytes of all voxels."""
        return math.prod(self.shape) * self.bytes_each

    def check_held(self) -> None:
        """Reject a header that declares more voxels than its file can hold.

        Raises:
            ValueError: it does.
        """
        held = self.voxels.stat().st_size
        most = {"raw": held, "gzip": INFLATES * held, "text": 8 * held}.get(self.encoding)
        if most is not None and self.declared > most:
            raise ValueError(f"declares {self.declared:,} bytes of voxels, more than it can hold")


def read_header(path: Path) -> Header:
    """Read the header of an NRRD or MetaImage file.

    Args:
        path: the file.

    Raises:
        ValueError: it is neither, a field is missing, stands twice or is not valid, or the voxels
            lie in several files or outside the folder.
        MedscoreError: the file of the voxels is no regular file.
    """
    with open_file(path) as file:
        head = file.read(LONGEST)
    return _nrrd(path, head) if head.startswith(b"NRRD") else _metaimage(path, head)


def _nrrd(path: Path, head: bytes) -> Header:
    lines, at, detached = [], 0, False
    while at < len(head):
        line, mark, _ = head[at:].partition(b"\n")
        at += len(line) + len(mark)
        text = line.rstrip(b"\r").decode("latin-1")
        if not text:
            break
        lines.append(text)
    else:
        detached = True  # the header is the whole file
    if len(head) == LONGEST and detached:
        raise ValueError(f"has no end of the header within {LONGEST:,} bytes")
    pairs = [line.partition(": ") for line in lines[1:] if line[0] != "#" and ":=" not in line]
    fields = _unique((name, value) for name, mark, value in pairs if mark)
    kind = fields.get("type", "").lower()
    encoding = {"gz": "gzip", "bz2": "bzip2", "txt": "text", "ascii": "text", "hex": "text"}
    stated = fields.get("encoding", "").strip().lower()
    voxels = path
    if "datafile" in fields:
        voxels = _beside(path, fields["datafile"])
    elif detached:
        raise ValueError("has no voxels")
    units = re.findall(r'"([^"]*)"', fields.get("spaceunits", "")) or fields.get("units", "")
    return Header(
        fields, _sizes(fields.get("sizes"), fields.get("dimension")), voxels, _bytes(kind),
        encoding.get(stated, stated), _unit(units if isinstance(units, list) else []), at,
    )  # fmt: skip


def _metaimage(path: Path, head: bytes) -> Header:
    pairs, at = [], 0
    while at < len(head):
        line, mark, _ = head[at:].partition(b"\n")
        at += len(line) + len(mark)
        name, separator, value = re.split("([=:])", line.decode("latin-1"), maxsplit=1) \
            if re.search(b"[=:]", line) else (line.decode("latin-1"), "", "")  # fmt: skip
        if not separator and name.strip():
            raise ValueError(f"is neither NRRD nor MetaImage: {name.strip()[:40]!r}")
        if separator:
            pairs.append((name, value.strip()))
        if name.strip() == "ElementDataFile":
            break
    else:
        raise ValueError("has no ElementDataFile")
    fields = _unique(pairs)
    kind = fields.get("elementtype", "").removeprefix("MET_").lower().replace("_", "")
    if kind.endswith("array"):
        raise ValueError("is an image of arrays")
    channels = fields.get("elementnumberofchannels", "1")
    shape = _sizes(fields.get("dimsize"), fields.get("ndims"))
    shape = (int(channels), *shape) if channels != "1" else shape
    compressed = fields.get("compresseddata", "false").lower()[:1] in ("t", "1")
    binary = fields.get("binarydata", "true").lower()[:1] in ("t", "1")
    place = fields["elementdatafile"]
    voxels = path if place.upper() == "LOCAL" else _beside(path, place)
    encoding = "gzip" if compressed else "raw" if binary else "text"
    return Header(
        fields, shape, voxels, _bytes(kind), encoding,
        _unit([fields.get("distanceunits", "")]), at,
    )  # fmt: skip


def _unique(pairs: object) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:  # type: ignore[attr-defined]
        key = "".join(name.lower().split())
        if key in found:
            raise ValueError(f"the field {name.strip()!r:.40} stands twice")
        found[key] = value.strip()
    return found


def _sizes(text: str | None, dimension: str | None) -> tuple[int, ...]:
    words = (text or "").split()
    if not words or not all(re.fullmatch(r"\d{1,12}", word) for word in words):
        raise ValueError(f"the size is {text!r:.60}")
    if (dimension or "").strip() != str(len(words)):
        raise ValueError(f"has {dimension!r:.20} axes and {len(words)} sizes")
    shape = tuple(int(word) for word in words)
    if not 0 < math.prod(shape) < MOST:
        raise ValueError(f"the size is {' x '.join(words)[:60]}")
    return shape


def _bytes(kind: str) -> int:
    for word, short in _WORDS:
        kind = kind.replace("unsigned ", "u").replace(word, short)
    if kind not in _BYTES:
        raise ValueError(f"the type of the voxels is {kind!r:.40}")
    return _BYTES[kind]


def _unit(units: list[str]) -> float:
    """Millimetres in the unit of all axes of space."""
    known = {UNITS.get(unit.strip().lower()) for unit in units[:3]} or {1.0}
    if len(known) > 1 or None in known:
        raise ValueError(f"the units of lengths are {', '.join(units)[:60]!r}")
    return float(known.pop() or 1.0)


def _beside(path: Path, name: str) -> Path:
    """The file that a header names, if it is one and in the same folder or below."""
    parts = PurePosixPath(name).parts
    several = name.upper().startswith("LIST") or "%" in name
    if several:
        raise ValueError(f"the voxels lie in several files ({name[:60]!r}), save it as one file")
    if not parts or name.startswith(("/", "-")) or ".." in parts or "\\" in name or ":" in name:
        raise ValueError(f"the voxels lie in {name[:60]!r}, which is not beside the header")
    return regular_file(path.parent / name, "file of the voxels", "copy it beside the header")

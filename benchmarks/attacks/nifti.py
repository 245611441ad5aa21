"""Changes to the header and the data of a NIfTI file, plain or gzipped."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from attacks.base import Mutator
from attacks.raw import BYTES
from attacks.values import NUMBERS

FIELDS = {
    "sizeof_hdr": (0, "i"), "dim_info": (39, "b"), **{f"dim{k}": (40 + 2 * k,
            "h") for k in range(8)},
    "intent_code": (68, "h"), "datatype": (70, "h"), "bitpix": (72, "h"),
    **{f"pixdim{k}": (76 + 4 * k, "f") for k in range(8)}, "vox_offset": (108, "f"),
    "scl_slope": (112, "f"), "scl_inter": (116, "f"), "xyzt_units": (123, "b"),
    "cal_max": (124, "f"),
    "qform": (252, "h"), "sform": (254, "h"), **{f"quatern{k}": (256 + 4 * k,
            "f") for k in range(6)},
    **{f"srow{k}": (280 + 4 * k, "f") for k in range(12)}, "magic": (344, "4s"),
    "extension": (348, "4s"),
}  # fmt: skip
"""Offset and format of the fields of NIfTI-1."""

TYPES = (0, 1, 2, 4, 8, 16, 32, 64, 128, 255, 256, 512, 768, 1024, 1280, 1536, 1792, 2048, 2304, -1)


def _edits(change: Callable[[bytearray, np.random.Generator], None]) -> Mutator:
    """A change to the content, whether it is gzipped or not."""

    def mutate(path: Path, rng: np.random.Generator) -> None:
        packed = path.name.endswith(".gz")
        raw = path.read_bytes()
        content = bytearray(gzip.decompress(raw) if packed else raw)
        change(content, rng)
        path.write_bytes(gzip.compress(bytes(content), 1) if packed else content)

    mutate.__name__ = change.__name__
    return mutate


def _packed(form: str, value: float | bytes) -> bytes:
    """A value in a field, cut to what the field can hold."""
    if isinstance(value, bytes):
        return struct.pack(f"<{form}", value)
    if form == "f":
        with np.errstate(over="ignore"):
            return np.float32(float(value)).tobytes()
    width = struct.calcsize(form)
    whole = int(value) if math.isfinite(value) else -1
    return (whole % 2 ** (8 * width)).to_bytes(width, "little")


@_edits
def header_fields(content: bytearray, rng: np.random.Generator) -> None:
    """Set one to three fields to extreme values."""
    for _ in range(int(rng.integers(1, 4))):
        place, form = FIELDS[list(FIELDS)[int(rng.integers(len(FIELDS)))]]
        value: float | bytes = NUMBERS[int(rng.integers(len(NUMBERS)))]
        if form.endswith("s"):
            value = [b"\0\0\0\0", b"n+2\0", b"ni1\0", b"\x01\0\0\0", b"\xff" * 4][
                int(rng.integers(5))
            ]
        data = _packed(form, value)
        content[place : place + len(data)] = data


@_edits
def dimensions(content: bytearray, rng: np.random.Generator) -> None:
    """Set all dimensions to numbers from -1 to 32,767."""
    sizes = [int(rng.choice([-1, 0, 1, 2, 32, 100, 2000, 32767])) for _ in range(8)]
    sizes[0] = int(rng.integers(0, 9))
    content[40:56] = struct.pack("<8h", *sizes)


@_edits
def data_type(content: bytearray, rng: np.random.Generator) -> None:
    """Set the data type, and sometimes the bits that go with it."""
    content[70:72] = struct.pack("<h", int(rng.choice(TYPES)))
    if rng.random() < 0.5:
        content[72:74] = struct.pack("<h", int(rng.choice([0, 1, 8, 16, 24, 32, 64, 96, 128])))


@_edits
def scaling(content: bytearray, rng: np.random.Generator) -> None:
    """Set slope and intercept."""
    pairs = [_packed("f", NUMBERS[int(rng.integers(len(NUMBERS)))]) for _ in range(2)]
    content[112:120] = b"".join(pairs)


@_edits
def offset(content: bytearray, rng: np.random.Generator) -> None:
    """Set the offset of the data."""
    values = (0.0, 1.0, 347.0, 348.5, 351.0, 352.0, 353.0, 1e4, 1e9, 1e20, -352.0, float("nan"))
    content[108:112] = struct.pack("<f", values[int(rng.integers(len(values)))])


@_edits
def swapped_bytes(content: bytearray, rng: np.random.Generator) -> None:
    """Swap the bytes of the header's numbers, but not those of the data."""
    for place, form in FIELDS.values():
        width = struct.calcsize(form)
        content[place : place + width] = content[place : place + width][::-1]


@_edits
def values(content: bytearray, rng: np.random.Generator) -> None:
    """Replace voxels by extreme floats."""
    filling = np.float32(rng.choice([np.nan, np.inf, 3e38, 1e-42, 1e20, 1e-21, 0.0])).tobytes()
    count = (len(content) - 352) // 4
    whole = rng.random() < 0.5
    first, last = (0, count) if whole else sorted(int(p) for p in rng.integers(0, count + 1, 2))
    content[352 + 4 * first : 352 + 4 * last] = filling * (last - first)


@_edits
def extensions(content: bytearray, rng: np.random.Generator) -> None:
    """Announce header extensions of false sizes."""
    sizes = (0, 8, 15, 16, 2**31 - 1, -16, 4096)
    content[348:352] = b"\x01\0\0\0"
    content[352:360] = struct.pack(
        "<ii", sizes[int(rng.integers(len(sizes)))], int(rng.integers(50))
    )


def stream(path: Path, rng: np.random.Generator) -> None:
    """Damage the gzip stream: its checksum, its length, its end, or what follows it."""
    raw = bytearray(path.read_bytes())
    if not path.name.endswith(".gz"):
        raw = bytearray(gzip.compress(raw, 1))
    kind = int(rng.integers(6))
    if kind == 0:
        raw[-8:-4] = rng.bytes(4)
    elif kind == 1:
        raw[-4:] = rng.bytes(4)
    elif kind == 2:
        raw = raw[: -int(rng.integers(1, len(raw) // 2))]
    elif kind == 3:
        raw += rng.bytes(int(rng.integers(1, 200)))
    elif kind == 4:
        raw = raw + raw
    else:
        raw[3] = int(rng.integers(256))
    path.write_bytes(raw)


def bomb(path: Path, rng: np.random.Generator) -> None:
    """A header that declares gigabytes, with some megabytes of zeros behind it."""
    raw = path.read_bytes()
    head = bytearray(gzip.decompress(raw) if path.name.endswith(".gz") else raw)[:352]
    side = int(rng.choice([256, 2048, 32767]))
    content = (
        bytes(head[:40]) + struct.pack("<8h", 3, side, side, side, 1, 1, 1, 1) + bytes(head[56:])
    )
    pack = zlib.compressobj(1, zlib.DEFLATED, 31)
    packed = pack.compress(content)
    for _ in range(int(rng.integers(1, 8))):
        packed += pack.compress(bytes(2**20))
    plain = content + bytes(2**20)
    path.write_bytes(packed + pack.flush() if path.name.endswith(".gz") else plain)


NIFTI = (
    header_fields, header_fields, dimensions, data_type, scaling, offset, swapped_bytes, values,
    extensions, stream, bomb, *BYTES,
)  # fmt: skip
"""All changes to NIfTI files."""

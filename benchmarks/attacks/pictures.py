"""Changes to the structure of TIFF, PNG and JPEG files."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from attacks.raw import BYTES

TAGS = (
    256,
    257,
    258,
    259,
    262,
    266,
    273,
    277,
    278,
    279,
    284,
    317,
    322,
    323,
    324,
    325,
    338,
    339,
    270,
)
"""Tags of the matrix, the bits, the compression, the strips and tiles, and the description."""

VALUES = (0, 1, 2, 3, 5, 7, 8, 16, 24, 32, 64, 255, 256, 4096, 32773, 34712, 50000, 65535, 2**24,
          2**31 - 1, 2**31, 2**32 - 1)  # fmt: skip


def _entries(content: bytes) -> list[int]:
    """Offsets of all entries of the directories of a little-endian TIFF file."""
    found, place, seen = [], struct.unpack_from("<I", content, 4)[0], set()
    while place and place not in seen and place + 2 <= len(content):
        seen.add(place)
        count = struct.unpack_from("<H", content, place)[0]
        found += [place + 2 + 12 * k for k in range(count)]
        end = place + 2 + 12 * count
        place = struct.unpack_from("<I", content, end)[0] if end + 4 <= len(content) else 0
    return [place for place in found if place + 12 <= len(content)]


def tiff_entries(path: Path, rng: np.random.Generator) -> None:
    """Change tag, type, count or value of one to three directory entries."""
    content = bytearray(path.read_bytes())
    entries = _entries(content)
    known = [k for k in entries if struct.unpack_from("<H", content, k)[0] in TAGS] or entries
    for _ in range(int(rng.integers(1, 4))):
        place, kind = known[int(rng.integers(len(known)))], int(rng.integers(5))
        value = VALUES[int(rng.integers(len(VALUES)))]
        if kind == 0:
            struct.pack_into("<H", content, place, TAGS[int(rng.integers(len(TAGS)))])
        elif kind == 1:
            struct.pack_into("<H", content, place + 2, int(rng.integers(0, 20)))
        elif kind == 2:
            struct.pack_into("<I", content, place + 4, value)
        else:
            struct.pack_into("<I", content, place + 8, value)
    path.write_bytes(content)


def tiff_chain(path: Path, rng: np.random.Generator) -> None:
    """Chain the directories to themselves, to others, or to nowhere."""
    content = bytearray(path.read_bytes())
    first = struct.unpack_from("<I", content, 4)[0]
    count = struct.unpack_from("<H", content, first)[0]
    targets = (first, 0, 4, 8, len(content), len(content) - 2, 2**31, first + 12)
    target = targets[int(rng.integers(len(targets)))]
    struct.pack_into("<I", content, 4 if rng.random() < 0.3 else first + 2 + 12 * count, target)
    if rng.random() < 0.3:
        struct.pack_into("<H", content, first, int(rng.choice([0, 1, 5, 1000, 65535])))
    path.write_bytes(content)


def tiff_description(path: Path, rng: np.random.Generator) -> None:
    """Replace the shape that the description states by another one of the same length."""
    content = path.read_bytes()
    start = content.find(b'{"shape"')
    if start < 0:
        tiff_entries(path, rng)
        return
    end = content.index(b"}", start)
    texts = ('{"shape": [99999, 99999]', '{"shape": [-1, 60]', '{"shape": [1e9]', '{"shape": null',
             '{"shape": []', '{"shape": [[[[]]]]', '{"shape": "a"', '{"a": 1')  # fmt: skip
    text = texts[int(rng.integers(len(texts)))].encode()[: end - start].ljust(end - start)
    path.write_bytes(content[:start] + text + content[end:])


def _chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    found, place = [], 8
    while place + 12 <= len(content):
        size = struct.unpack_from(">I", content, place)[0]
        found.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + size]))
        place += 12 + size
    return found


def png_of(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG file with valid checksums.

    Args:
        chunks: names and contents of its chunks.
    """
    out = b"\x89PNG\r\n\x1a\n"
    for name, data in chunks:
        out += (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )
    return out


def png_header(path: Path, rng: np.random.Generator) -> None:
    """Change the matrix, the bits, the colours or the methods, with a valid checksum."""
    chunks = _chunks(path.read_bytes())
    head = bytearray(chunks[0][1])
    if rng.random() < 0.6:
        sides = (0, 1, 2, 8, 1000, 30_000, 100_000, 2**31 - 1, 2**31, 2**32 - 1)
        for place in (0, 4):
            struct.pack_into(">I", head, place, sides[int(rng.integers(len(sides)))])
    else:
        head[8 + int(rng.integers(5))] = int(rng.choice([0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 255]))
    path.write_bytes(png_of([(b"IHDR", bytes(head)), *chunks[1:]]))


def png_chunks(path: Path, rng: np.random.Generator) -> None:
    """Drop, double, move, fill or add chunks, among them compressed texts and profiles."""
    chunks = _chunks(path.read_bytes())
    k, kind = int(rng.integers(1, len(chunks))), int(rng.integers(6))
    if kind == 0:
        del chunks[k]
    elif kind == 1:
        chunks.insert(k, chunks[int(rng.integers(len(chunks)))])
    elif kind == 2:
        chunks.reverse()
    elif kind == 3:
        bomb = zlib.compress(bytes(int(rng.choice([10, 2**20, 2**25]))), 9)
        heads = ((b"zTXt", b"a\0\0"), (b"iCCP", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0"))
        name, head = heads[int(rng.integers(3))]
        chunks.insert(1, (name, head + bomb))
    elif kind == 4:
        sizes = (10, 2**20, 2**24)
        chunks[k] = (b"IDAT", zlib.compress(rng.bytes(8) + bytes(int(rng.choice(sizes))), 1))
    else:
        extra = ((b"PLTE", b"\0\0"), (b"tRNS", b""), (b"acTL", b"\xff" * 8), (b"gAMA", b"\0" * 4),
                 (b"fcTL", bytes(26)), (b"eXIf", b"II*\0" + b"\xff" * 9))  # fmt: skip
        chunks.insert(1, extra[int(rng.integers(len(extra)))])
    path.write_bytes(png_of(chunks))


def jpeg_segments(path: Path, rng: np.random.Generator) -> None:
    """Change the length or the matrix that a JPEG segment states."""
    content = bytearray(path.read_bytes())
    marks = [
        k for k in range(len(content) - 10) if content[k] == 255 and 192 <= content[k + 1] < 255
    ]
    place = marks[int(rng.integers(len(marks)))]
    kind = int(rng.integers(3))
    if kind == 0:
        content[place + 2 : place + 4] = rng.bytes(2)
    elif kind == 1:
        content[place + 1] = int(rng.integers(192, 255))
    else:
        content[place + 5 : place + 9] = struct.pack(
            ">HH", *(int(rng.choice([0, 1, 65535])) for _ in "ab")
        )
    path.write_bytes(content)


def postscript(path: Path, rng: np.random.Generator) -> None:
    """PostScript, PDF, or another format that Pillow opens, under the picture's name."""
    contents = (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(x) (w) file closefile\nshowpage\n",
        b"\xc5\xd0\xd3\xc6" + struct.pack("<6I", 30, 60, 0, 0, 0,
            0) + b"\0\0%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"%PDF-1.4\n", b"SIMPLE  =                    T", b"P6 99999 99999 255\n",
        b"P6\n8 8\n255\n" + bytes(192),
        b"\x00\x00\x02\x00" + bytes(100), b"BM" + bytes(60), b"8BPS\x00\x01" + bytes(60),
        b"\x0a\x05\x01\x08" + bytes(140),
    )  # fmt: skip
    path.write_bytes(contents[int(rng.integers(len(contents)))])


TIFF = (tiff_entries, tiff_entries, tiff_entries, tiff_chain, tiff_description, *BYTES)
PNG = (png_header, png_header, png_chunks, png_chunks, postscript, *BYTES)
JPEG = (jpeg_segments, jpeg_segments, postscript, *BYTES)
OTHER = (postscript, *BYTES)
"""All changes to pictures."""

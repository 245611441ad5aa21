"""Changes to the bytes of a file of any format."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np


def flip_bits(path: Path, rng: np.random.Generator) -> None:
    """Flip 1 to 64 bits, half of the time in the first kilobyte, where headers are."""
    content = bytearray(path.read_bytes())
    end = len(content) if rng.random() < 0.5 else min(1024, len(content))
    for place in rng.integers(0, end, rng.integers(1, 65)):
        content[place] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)


def truncate(path: Path, rng: np.random.Generator) -> None:
    """Cut the file at a random length."""
    content = path.read_bytes()
    path.write_bytes(content[: int(rng.integers(0, max(1, len(content))))])


def extreme_bytes(path: Path, rng: np.random.Generator) -> None:
    """Replace numbers of 2, 4 or 8 bytes by extreme values."""
    content = bytearray(path.read_bytes())
    for _ in range(int(rng.integers(1, 5))):
        width = int(rng.choice([2, 4, 8]))
        end = len(content) if rng.random() < 0.3 else min(1024, len(content))
        place = int(rng.integers(0, max(1, end - width)))
        content[place : place + width] = [b"\xff", b"\x00", b"\x7f"][int(rng.integers(3))] * width
    path.write_bytes(content)


def splice(path: Path, rng: np.random.Generator) -> None:
    """Copy a random piece over another."""
    content = bytearray(path.read_bytes())
    size = int(rng.integers(1, max(2, len(content) // 4)))
    a, b = (int(rng.integers(0, max(1, len(content) - size))) for _ in range(2))
    content[a : a + size] = content[b : b + size]
    path.write_bytes(content)


def zeros(path: Path, rng: np.random.Generator) -> None:
    """Zero a piece of 8 bytes to 4 KiB, half of the time at the beginning."""
    content = bytearray(path.read_bytes())
    size = min(2 ** int(rng.integers(3, 13)), len(content))
    place = 0 if rng.random() < 0.5 else int(rng.integers(0, len(content) - size + 1))
    content[place : place + size] = bytes(size)
    path.write_bytes(content)


def grow(path: Path, rng: np.random.Generator) -> None:
    """Repeat a number that occurs several times with a larger value, such as a matrix size."""
    content = path.read_bytes()
    width = int(rng.choice([2, 4, 8]))
    place = int(rng.integers(0, max(1, min(2048, len(content)) - width)))
    old = content[place : place + width]
    new = int(rng.integers(1, 2**15)).to_bytes(2, "little").ljust(width, b"\x00")[:width]
    path.write_bytes(content.replace(old, new, 8) if any(old) else content + new)


def other_format(path: Path, rng: np.random.Generator) -> None:
    """Replace the file by one of another format, or by none at all."""
    content = path.read_bytes()
    others = (
        b"", b"\x00" * 4096, gzip.compress(content),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n",
        b"PK\x03\x04" + bytes(60), b"\x93NUMPY\x01\x00", b"\x89HDF\r\n\x1a\n" + bytes(600),
        b"\x89PNG\r\n\x1a\n", b"II*\x00\x08\x00\x00\x00", b"GIF89a",
        b"SQLite format 3\x00" + bytes(100),
        b"\x80\x04cos\nsystem\n(S'true'\ntR.", b"name: a\n", b"{}", b"<html></html>",
        b"\xff\xfe" * 40,
        bytes(128) + b"DICM", b"MATLAB 5.0 MAT-file", content + content,
    )  # fmt: skip
    path.write_bytes(others[int(rng.integers(len(others)))])


BYTES = (flip_bits, truncate, extreme_bytes, splice, zeros, grow, other_format)
"""All changes to bytes."""

"""BART, MATLAB and twix files of raw data, their changes, and the commands that read them."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import h5py
import numpy as np
from scipy.io import savemat

from attacks.base import Variant
from attacks.hdf5 import HDF5
from attacks.make import Make
from attacks.raw import BYTES
from attacks.scanner_files import kspace
from attacks.twix_files import TwixLine, protocol, twix_file

COMPRESSED, MATRIX = 15, 14
"""Types of elements of MATLAB files."""

DOUBLE, CELL, STRUCT, OBJECT, FUNCTION, OPAQUE = 6, 1, 2, 3, 16, 17
"""Classes of arrays of MATLAB files."""

EXTREME = (0, 1, 2, 255, 2**16, 2**31 - 1, 2**32 - 1)


def measured_files(folder: Path) -> dict[str, Path]:
    """A BART file with its header, MATLAB files of version 5 and 7.3, and a twix file.

    Args:
        folder: folder to write in.
    """
    values = kspace()  # (slice, coil, readout, phase)
    stored = np.moveaxis(values, (2, 3, 1, 0), (0, 1, 2, 3))
    shape = [*stored.shape[:2], 1, stored.shape[2], *(1,) * 9, stored.shape[3], 1, 1]
    (folder / "kspace.hdr").write_text(f"# Dimensions\n{' '.join(map(str, shape))}\n")
    (folder / "kspace.cfl").write_bytes(stored.astype("<c8").tobytes(order="F"))
    s = (np.arange(47) - 23) * 3.0
    rows = np.tile(0.04 * np.sqrt(np.clip(40.0**2 - s**2, 0, None)), (60, 1))
    scan = {
        "type": "2d", "sinogram": rows,
        "parameters": {
            "distanceSourceOrigin": 400.0, "distanceSourceDetector": 600.0, "distanceUnit": "mm",
            "pixelSizePost": 4.5, "angles": 6.0 * np.arange(60.0),
        },
    }  # fmt: skip
    savemat(folder / "scan.mat", {"CtData": scan}, do_compression=True)
    savemat(folder / "sinogram.mat", {"sino": rows, "note": "a disc"})
    with h5py.File(folder / "new.mat", "w", userblock_size=512) as file:
        file.create_dataset("sino", data=rows.T, compression="gzip")
    with (folder / "new.mat").open("r+b") as opened:
        opened.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    readout, phase = values.shape[2:]
    lines = [
        TwixLine(values[0, :, :, step], {"Lin": step}, (), (readout // 2, phase // 2, 0))
        for step in range(phase)
    ]
    head = protocol(base=readout // 2, lines=phase, fov=(96.0, 96.0, 5.0))
    twix_file(folder / "scan.dat", [(head, lines)])
    names = ("kspace.hdr", "kspace.cfl", "scan.mat", "sinogram.mat", "new.mat", "scan.dat")
    return {name: folder / name for name in names}


def other_sizes(path: Path, rng: np.random.Generator) -> None:
    """Other sizes, too many, negative ones or words in the header of a BART file."""
    words = path.read_text().splitlines()[1].split()
    for _ in range(int(rng.integers(1, 4))):
        drawn = [*map(str, EXTREME), "-1", "1e9", "x", "99999999999999999999", "", "nan", "0x10"]
        words[int(rng.integers(len(words)))] = drawn[int(rng.integers(len(drawn)))]
    words *= int(rng.choice([1, 1, 1, 2, 100]))
    path.write_text(f"# Dimensions\n{' '.join(words)}\n")


def inflated_change(path: Path, rng: np.random.Generator) -> None:
    """Extreme numbers in what a MATLAB file holds compressed, compressed again."""
    content = path.read_bytes()
    made, place = content[:128], 128
    while place + 8 <= len(content):
        kind, length = struct.unpack("<II", content[place : place + 8])
        data = content[place + 8 : place + 8 + length]
        if kind == COMPRESSED:
            data = zlib.compress(_extreme(zlib.decompress(data), rng))
            made += struct.pack("<II", kind, len(data)) + data
        else:
            made += content[place : place + 8] + _extreme(data, rng)
        place += 8 + length
    path.write_bytes(made)


def nested(path: Path, rng: np.random.Generator) -> None:
    """Cells in cells, to any depth."""
    depth = int(rng.choice([2, 30, 1000, 20_000]))
    body = _matrix(DOUBLE, (1, 1), b"a", struct.pack("<IId", 9, 8, 1.0))
    if depth > 1000:  # only the beginnings, each as long as what follows
        sizes = np.arange(depth, 0, -1) * 56
        body = b"".join(_begin(CELL, (1, 1), b"", int(size)) for size in sizes) + body
    else:
        for _ in range(depth):
            body = _matrix(CELL, (1, 1), b"", body)
    path.write_bytes(path.read_bytes()[:128] + body)


def large(path: Path, rng: np.random.Generator) -> None:
    """An array that states any size and class."""
    sizes = tuple(int(rng.choice(EXTREME)) for _ in range(int(rng.integers(1, 4))))
    kind = int(rng.choice([CELL, STRUCT, OBJECT, DOUBLE, FUNCTION, OPAQUE, 5, 7, 13]))
    body = _matrix(kind, sizes, b"sino", struct.pack("<IId", 9, 8, 1.0))
    if rng.random() < 0.5:
        packed = zlib.compress(body)
        body = struct.pack("<II", COMPRESSED, len(packed)) + packed
    path.write_bytes(path.read_bytes()[:128] + body)


def bomb(path: Path, rng: np.random.Generator) -> None:
    """Gigabytes of zeros in a few megabytes."""
    packer = zlib.compressobj(9)
    packed = packer.compress(_begin(DOUBLE, (1, 2**28), b"sino", 2**31 + 64))
    packed += packer.compress(struct.pack("<II", 9, 2**31))
    packed += b"".join(packer.compress(bytes(2**24)) for _ in range(2 ** int(rng.integers(0, 7))))
    packed += packer.flush()
    path.write_bytes(path.read_bytes()[:128] + struct.pack("<II", COMPRESSED, len(packed)) + packed)


def line_numbers(path: Path, rng: np.random.Generator) -> None:
    """Extreme numbers in the headers of lines of a twix file."""
    content = bytearray(path.read_bytes())
    start = 10240 + struct.unpack_from("<I", content, 10240)[0]
    for _ in range(int(rng.integers(1, 5))):
        width, letter = ((2, "<H"), (4, "<I"))[int(rng.integers(2))]
        place = start + width * int(rng.integers(0, 192 // width))
        struct.pack_into(letter, content, place, int(rng.choice(EXTREME)) % 256**width)
    path.write_bytes(content)


def protocol_numbers(path: Path, rng: np.random.Generator) -> None:
    """Other numbers in the protocol of a twix file, of the same length."""
    content = path.read_bytes()
    digits = [k for k in range(10240, min(len(content), 11200)) if chr(content[k]).isdigit()]
    made = bytearray(content)
    for place in rng.choice(digits, int(rng.integers(1, 6))):
        made[place] = b"0129-xe."[int(rng.integers(8))]
    path.write_bytes(made)


def long_list(path: Path, rng: np.random.Generator) -> None:
    """A protocol with an index that asks for a list without end."""
    values = [TwixLine(kspace()[0, :, :, 0], {})]
    index = int(rng.choice([10, 10**6, 10**11]))
    head = protocol(base=8, lines=8, fov=(96.0, 96.0, 5.0), more=f"sWip.alFree[{index}] = 1")
    twix_file(path, [(head, values)])


CFL, MAT = (*BYTES, other_sizes), (*BYTES, inflated_change, nested, large, bomb)
TWIX = (*BYTES, line_numbers, line_numbers, protocol_numbers, long_list)


def measured_kinds(make: Make) -> dict[str, list[Variant]]:
    """The commands that read these files.

    Args:
        make: makes variants of the valid files.
    """
    out, parallel = ("-o", "out/m.h5"), ("--set", "beam=parallel", "--set", "views=60")
    geometry = (*parallel, "--set", "detector_spacing=3", "--size", "32")
    bart = ("--spacing", "3", *out)
    return {
        "cfl": [
            make("kspace.hdr", CFL, "measure", "in/kspace.cfl", *bart, weight=3),
            make("kspace.cfl", BYTES, "measure", "in/kspace.cfl", *bart, weight=2),
            make("kspace.hdr", CFL, "inspect", "in/kspace.cfl"),
        ],
        "mat": [
            make("scan.mat", MAT, "measure", "in/scan.mat", "--size", "32", *out, weight=3),
            make("sinogram.mat", MAT, "measure", "in/sinogram.mat", *geometry, *out, weight=3),
            make("new.mat", HDF5, "measure", "in/new.mat", *geometry, *out, weight=2),
        ],
        "twix": [
            make("scan.dat", TWIX, "measure", "in/scan.dat", *out, weight=3),
            make("scan.dat", TWIX, "inspect", "in/scan.dat"),
        ],
    }


def _extreme(data: bytes, rng: np.random.Generator) -> bytes:
    """The bytes with a few numbers of 4 bytes replaced, most of them at the beginning."""
    changed = io.BytesIO(data)
    for _ in range(int(rng.integers(1, 4))):
        end = len(data) if rng.random() < 0.2 else min(256, len(data))
        changed.seek(4 * int(rng.integers(0, max(1, end // 4))))
        changed.write(struct.pack("<I", int(rng.choice(EXTREME))))
    return changed.getvalue()[: max(len(data), 4)]


def _begin(kind: int, sizes: tuple[int, ...], name: bytes, length: int) -> bytes:
    """Tag, class, sizes and name of an array of some length."""
    flags = struct.pack("<IIII", 6, 8, kind, 0)
    numbers = struct.pack(f"<{len(sizes)}I", *(size % 2**32 for size in sizes))
    shape = struct.pack("<II", 5, len(numbers)) + numbers.ljust((len(numbers) + 7) // 8 * 8, b"\0")
    label = struct.pack("<II", 1, len(name)) + name.ljust((len(name) + 7) // 8 * 8, b"\0")
    head = flags + shape + label
    return struct.pack("<II", MATRIX, (length + len(head)) % 2**32) + head


def _matrix(kind: int, sizes: tuple[int, ...], name: bytes, body: bytes) -> bytes:
    return _begin(kind, sizes, name, len(body)) + body

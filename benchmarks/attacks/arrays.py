"""Changes to the headers of NumPy files, and to the members of NumPy archives."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy as np

from attacks.raw import BYTES

DTYPES = (
    "'<f4'", "'<f8'", "'>f4'", "'<f2'", "'<f16'", "'<c8'", "'<c16'", "'|b1'", "'|u1'", "'<i8'",
    "'<u8'", "'|S0'", "'|S3'", "'<U0'", "'<U9'", "'|V0'", "'|V7'", "'|O'", "'<M8[ns]'", "'<m8'",
    "'<M8'", "'x'", "''", "None", "'<f4,<f4'", "[('a', '<f4'), ('b', '|O')]", "[('a', '|S0')]",
    "('<f4', (2, 2))", "('|S0', (3,))", "[]", "'f' * 9", "'<f4\\0'", "1", "'|V99999999999'",
)  # fmt: skip
SHAPES = (
    "()", "(0,)", "(-1,)", "(-1, -1)", "(1,)", "(2, 32, 32)", "(4, 8, 8, 3)", "(2**31,)",
    "(2147483648,)", "(4611686018427387904, 4)", "(9223372036854775807,)",
    "(18446744073709551616,)",
    "(1,) * 40", "(1, 1, 1, 1, 1, 1, 1, 1, 1, 1)", "(1.5,)", "(True,)", "('a',)", "None", "[2, 3]",
    "(0, 99999999999)", "(3, 0, 0, 5)", "(100000, 100000)", "(-3, -3)",
)  # fmt: skip


def header_of(descr: str, order: str, shape: str) -> bytes:
    """The beginning of a .npy file, version 1.0.

    Args:
        descr: Python text of the data type.
        order: Python text of whether the order is Fortran's.
        shape: Python text of the shape.
    """
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    text += b" " * (63 - (len(text) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) % 2**16) + text


def altered(content: bytes, rng: np.random.Generator) -> bytes:
    """A .npy file with another header, or with other values.

    Args:
        content: bytes of a valid file, version 1.0.
        rng: source of the random draws.
    """
    values = np.load(io.BytesIO(content), allow_pickle=False)
    data = values.tobytes()
    descr, order = repr(values.dtype.str), ("False", "True", "0", "'x'")[int(rng.integers(4))]
    shape, kind = repr(values.shape), int(rng.integers(8))
    if kind in (0, 1):
        descr = DTYPES[int(rng.integers(len(DTYPES)))]
    if kind in (1, 2, 3):
        shape = SHAPES[int(rng.integers(len(SHAPES)))]
    if kind == 4:
        descr = ("(" * 300 + ")" * 300, "__import__('os')", "{}" * 9)[int(rng.integers(3))]
    if kind <= 4:
        return header_of(descr, order, shape) + data
    if kind == 5:
        return content[:6] + rng.bytes(4) + content[10:]
    if kind == 6:
        return _saved(_other_type(values, rng))
    if values.dtype.kind not in "fciu":
        return _saved(np.atleast_1d(values)[:0])
    filled = values.astype(np.complex128 if values.dtype.kind == "c" else np.float64)
    fill = rng.choice([np.nan, np.inf, 1e38, 1e-24, 1e20, 0.0, -1.0])
    places = rng.random(filled.shape) < rng.choice([0.01, 1.0])
    return _saved(np.where(places, fill, filled))


def _other_type(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The array in another type or shape."""
    flat = values.astype(str) if values.dtype.kind == "U" else values
    makers = (
        lambda: flat.astype(np.int8) if flat.dtype.kind in "fiu" else flat,
        lambda: flat.astype(str), lambda: flat.astype(object), lambda: np.atleast_1d(flat)[:0],
        lambda: flat.ravel(),
        lambda: flat[None, None], lambda: flat.T, lambda: np.asfortranarray(flat),
        lambda: np.atleast_1d(flat)[..., :1],
        lambda: np.zeros(flat.shape, "M8[s]"), lambda: np.zeros(flat.shape, "f2"),
        lambda: np.zeros(flat.shape, ">f8"), lambda: np.zeros(flat.shape, [("a", "f4")]),
        lambda: np.array(1.0), lambda: np.zeros((3, 0)), lambda: np.zeros((1, 1, 1), np.longdouble),
    )  # fmt: skip
    return makers[int(rng.integers(len(makers)))]()


def _saved(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=True)
    return buffer.getvalue()


def npy(path: Path, rng: np.random.Generator) -> None:
    """Change the header, the type or the values of an array."""
    path.write_bytes(altered(path.read_bytes(), rng))


def member(path: Path, rng: np.random.Generator) -> None:
    """Change the header, the type or the values of one array of an archive."""
    members = _members(path)
    name = list(members)[int(rng.integers(len(members)))]
    members[name] = altered(members[name], rng)
    _write(path, list(members.items()))


def names(path: Path, rng: np.random.Generator) -> None:
    """Rename, double, drop or add members of an archive."""
    members = list(_members(path).items())
    k, kind = int(rng.integers(len(members))), int(rng.integers(6))
    name, content = members[k]
    if kind == 0:
        del members[k]
    elif kind == 1:
        members.append((name, content))
    elif kind == 2:
        others = (
            "../x.npy",
            "/tmp/x.npy",
            "x",
            "hu",
            ".npy",
            "a" * 3000 + ".npy",
            "ä.npy",
            "x\0.npy",
        )
        members[k] = (others[int(rng.integers(len(others)))], content)
    elif kind == 3:
        members[k] = (name, content[: int(rng.integers(len(content)))])
    elif kind == 4:
        members.append(("extra.npy", content))
    else:
        members[k] = (name, b"not an array")
    _write(path, members)


def directory(path: Path, rng: np.random.Generator) -> None:
    """Damage the archive's directory: sizes, checksums, methods, flags or offsets."""
    content = bytearray(path.read_bytes())
    marks = [
        k for k in range(len(content) - 46) if content[k : k + 4] in (b"PK\x01\x02", b"PK\x03\x04")
    ]
    for _ in range(int(rng.integers(1, 4))):
        place = marks[int(rng.integers(len(marks)))] + 4
        width = int(rng.choice([2, 4]))
        shift = 2 * int(rng.integers(0, 19))
        values = (0, 1, 8, 12, 14, 99, 2**15, 2**31, 2**32 - 1)
        value = values[int(rng.integers(len(values)))] % 2 ** (8 * width)
        content[place + shift : place + shift + width] = value.to_bytes(width, "little")
    path.write_bytes(content)


def bomb(path: Path, rng: np.random.Generator) -> None:
    """Declare gigabytes; sometimes with megabytes of zeros in the archive."""
    side = int(rng.choice([256, 4096, 2**15]))
    shape = repr((side, side, side) if rng.random() < 0.5 else (side * side,))
    content = header_of("'<f4'", "False", shape) + bytes(2 ** int(rng.integers(10, 25)))
    if path.suffix == ".npy":
        path.write_bytes(content)
        return
    members = _members(path)
    members[list(members)[int(rng.integers(len(members)))]] = content
    _write(path, list(members.items()))


def _members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _write(path: Path, members: list[tuple[str, bytes]]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        seen = set()
        for name, content in members:
            info = zipfile.ZipInfo(name or "x")
            info.compress_type = zipfile.ZIP_DEFLATED
            if name in seen:
                archive.NameToInfo.pop(name, None)
            seen.add(name)
            archive.writestr(info, content)


NPY = (npy, npy, npy, npy, bomb, *BYTES)
NPZ = (member, member, member, names, directory, bomb, *BYTES)
"""All changes to NumPy files and archives."""

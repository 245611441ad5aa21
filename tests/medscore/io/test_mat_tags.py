"""Tags of MATLAB files that do not exist are refused before SciPy looks them up."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat
from scipy.sparse import csc_matrix

from medscore.errors import MedscoreError
from medscore.io.array_files import open_arrays
from medscore.io.mat_elements import elements
from medscore.io.mat_tags import DEEPEST, Inflated, Stored, check_tags

CONTENT: dict[str, Any] = {
    "double": np.random.default_rng(0).normal(size=(40, 50)),
    "complex": np.ones((3, 3)) * 1j,
    "bytes": np.arange(7, dtype=np.uint8),
    "truth": np.array([True, False]),
    "text": np.array(["one", "three"]),
    "sparse": csc_matrix(np.eye(4)),
    "cells": np.array([np.ones(2), "x", np.zeros((0, 3))], dtype=object),
    "struct": {"a": 1.0, "b": {"c": np.ones((5, 5), np.float32), "d": "text"}},
    "empty": np.zeros((0, 0)),
}


def saved(path: Path, compress: bool, **content: Any) -> bytes:
    savemat(path, content or CONTENT, do_compression=compress)
    return path.read_bytes()


@pytest.mark.parametrize("compress", [False, True])
def test_what_scipy_writes_is_valid(tmp_path: Path, compress: bool) -> None:
    content = saved(tmp_path / "a.mat", compress)
    assert len(list(elements(io.BytesIO(content)))) == len(CONTENT)


def matrix(*parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack("<II", 14, len(body)) + body


FLAGS = struct.pack("<IIII", 6, 8, 7, 0)
DIMS = struct.pack("<IIii", 5, 8, 1, 2)
NAME = struct.pack("<HH4s", 1, 2, b"ab")


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("part", "why"),
    [
        (struct.pack("<IIff", 255, 8, 1, 2), "of type 255"),
        (struct.pack("<II", 0, 0), "of type 0"),
        (struct.pack("<II", 20, 0), "of type 20"),
        (struct.pack("<HHI", 8, 1, 0), "of type 8"),
        (struct.pack("<HHI", 1, 5, 0), "declares 5 bytes"),
        (struct.pack("<II", 7, 2**31), "declares 2,147,483,648 bytes"),
        (matrix(FLAGS, DIMS, NAME, struct.pack("<II", 99, 0)), "of type 99"),
    ],
)
def test_tags_that_do_not_exist_are_refused(part: bytes, why: str, compressed: bool) -> None:
    body = matrix(FLAGS, DIMS, NAME, part)[8:]
    content = zlib.compress(body) if compressed else body
    file = io.BytesIO(content)
    stream = Inflated(file, len(content)) if compressed else Stored(file)
    with pytest.raises(ValueError, match=why):
        check_tags(stream, len(body), "<")


def test_arrays_may_be_nested_but_not_without_end() -> None:
    inner = matrix(FLAGS, DIMS, NAME)
    for _ in range(DEEPEST - 1):
        inner = matrix(inner)
    check_tags(Stored(io.BytesIO(inner)), len(inner), "<")
    deep = matrix(matrix(inner))
    with pytest.raises(ValueError, match="nested"):
        check_tags(Stored(io.BytesIO(deep)), len(deep), "<")


def test_a_file_with_such_a_tag_is_refused_in_one_line(tmp_path: Path) -> None:
    content = saved(tmp_path / "a.mat", False, hu=np.ones((3, 4)))
    tag = struct.pack("<II", 9, 96)
    assert content.count(tag) == 1
    (tmp_path / "a.mat").write_bytes(content.replace(tag, struct.pack("<II", 0x1FF, 96)))
    told = r"a\.mat: .*of type 511, which does not exist"
    with pytest.raises(MedscoreError, match=told), open_arrays(tmp_path / "a.mat"):
        pass


def test_inflated_bytes_are_those_of_the_part(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 9, 100_000, dtype=np.uint8).tobytes()
    packed = zlib.compress(values)
    stream = Inflated(io.BytesIO(packed + b"next"), len(packed))
    assert stream.take(10) == values[:10]
    stream.skip(70_000)
    assert stream.take(20) == values[70_010:70_030]
    stream.skip(10**9)
    assert stream.take(1) == b""

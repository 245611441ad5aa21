"""MATLAB files: what is read of them, and hostile ones of version 5 in the child process."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from medscore.errors import MedscoreError
from medscore.io.mat_files import is_mat, open_mat

CELL, DOUBLE = 1, 6


def element(kind: int, sizes: tuple[int, ...], body: bytes, declared: int | None = None) -> bytes:
    """An array of a class, sizes and content, as the format of version 5 writes it."""
    numbers = struct.pack(f"<{len(sizes)}I", *sizes)
    numbers = numbers.ljust((len(numbers) + 7) // 8 * 8, b"\0")
    head = struct.pack("<IIII", 6, 8, kind, 0) + struct.pack("<II", 5, 4 * len(sizes)) + numbers
    head += struct.pack("<II", 1, 1) + b"a".ljust(8, b"\0")
    length = len(head) + len(body) if declared is None else declared
    return struct.pack("<II", 14, length) + head + body


def mat(path: Path, *elements: bytes) -> Path:
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    path.write_bytes(header + b"".join(elements))
    return path


NUMBER = struct.pack("<IId", 9, 8, 2.5)


def packed(content: bytes) -> bytes:
    data = zlib.compress(content)
    return struct.pack("<II", 15, len(data)) + data


@pytest.fixture
def without_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medscore.io.mat_files.look", lambda *paths, **kind: None)


@pytest.mark.usefixtures("without_child")
@pytest.mark.parametrize("compress", [False, True])
def test_numbers_texts_and_structures(tmp_path: Path, compress: bool) -> None:
    content: dict[str, Any] = {
        "a": np.arange(6.0).reshape(2, 3), "z": np.array([1 + 2j]), "t": "mm",
        "s": {"b": np.eye(2), "deep": {"c": 3.0}}, "cells": np.array([1, "x"], dtype=object),
    }  # fmt: skip
    savemat(tmp_path / "m.mat", content, do_compression=compress)
    assert is_mat(tmp_path / "m.mat")
    with open_mat(tmp_path / "m.mat") as found:
        assert set(found.entries) == {"a", "z", "t", "s.b", "s.deep.c"}
        np.testing.assert_array_equal(found.read("a"), content["a"])
        assert found.read("z").item() == 1 + 2j
        assert found.read("t")[0] == "mm"
        assert found.read("s.deep.c").item() == 3.0


@pytest.mark.usefixtures("without_child")
def test_an_array_written_by_hand(tmp_path: Path) -> None:
    for content in (element(DOUBLE, (1, 1), NUMBER), packed(element(DOUBLE, (1, 1), NUMBER))):
        with open_mat(mat(tmp_path / "m.mat", content)) as found:
            assert found.read("a").tolist() == [[2.5]]


ZEROS = packed(element(DOUBLE, (1, 2**28), bytes(64), 2**31))
DAMAGED: dict[str, tuple[bytes, str]] = {
    "cut short": (element(DOUBLE, (1, 1), NUMBER)[:-4], "cut short: an element declares"),
    "empty": (struct.pack("<II", 15, 0), "cut short: a compressed element is empty"),
    "bomb": (ZEROS, "declares 2,147,483,648 bytes that it does not hold"),
    "not zlib": (struct.pack("<II", 15, 8) + b"not zlib", "cannot be read as MATLAB"),
}


@pytest.mark.usefixtures("without_child")
@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_refused(tmp_path: Path, name: str) -> None:
    content, why = DAMAGED[name]
    with pytest.raises(MedscoreError, match=why), open_mat(mat(tmp_path / "m.mat", content)):
        pass


@pytest.mark.usefixtures("without_child")
def test_damage_of_one_array_leaves_the_others(tmp_path: Path) -> None:
    content = {"whole": np.eye(3), "s": {"part": 2.0}, "damaged": np.arange(99.0)}
    savemat(tmp_path / "m.mat", content, do_compression=True)
    stored = bytearray((tmp_path / "m.mat").read_bytes())
    stored[-60:] = bytes(60)
    (tmp_path / "m.mat").write_bytes(stored)
    with open_mat(tmp_path / "m.mat") as found:
        np.testing.assert_array_equal(found.read("whole"), np.eye(3))
        assert found.read(found.named("s.part")).item() == 2.0
    with pytest.raises(MedscoreError, match="MATLAB"), open_mat(tmp_path / "m.mat") as found:
        found.read("damaged")


def test_other_versions_are_refused(tmp_path: Path) -> None:
    (tmp_path / "m.mat").write_bytes(bytes(200))
    with pytest.raises(MedscoreError, match=r"save it with -v7"), open_mat(tmp_path / "m.mat"):
        pass
    assert not is_mat(tmp_path / "m.mat")


def test_more_than_the_memory_budget_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    savemat(tmp_path / "m.mat", {"a": np.zeros(2**17), "few": np.ones(9)}, do_compression=True)
    monkeypatch.setenv("MEDSCORE_MEMORY", "512K")
    with open_mat(tmp_path / "m.mat") as found:
        assert found.read("few").sum() == 9
    with (
        pytest.raises(MedscoreError, match="memory budget"),
        open_mat(tmp_path / "m.mat") as found,
    ):
        found.read("a")


@pytest.mark.process
@pytest.mark.slow
def test_what_crashes_scipy_is_refused(tmp_path: Path) -> None:
    """Cells in cells, 20,000 deep: its reader calls itself for each of them."""
    body = b""
    for left in range(20_000, 0, -1):
        body += element(CELL, (1, 1), b"", 56 * left)
    path = mat(tmp_path / "m.mat", body + element(DOUBLE, (1, 1), NUMBER))
    with pytest.raises(MedscoreError), open_mat(path):
        pass

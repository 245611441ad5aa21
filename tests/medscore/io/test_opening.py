"""Only regular files and folders are opened; everything else is refused with its kind, at once."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from medscore.errors import MedscoreError
from medscore.io.opening import (
    file_or_folder,
    file_sha256,
    is_regular,
    is_there,
    open_file,
    read_bytes,
    regular_file,
)


def _socket(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # the name of a socket has at most 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


KINDS: dict[str, Callable[[Path], object]] = {
    "a named pipe": os.mkfifo,
    "a socket": _socket,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a loop of symbolic links": lambda path: path.symlink_to(path.name),
    "a folder": Path.mkdir,
    "no such": lambda path: path.symlink_to("nothing"),
}
READERS: list[Callable[[Path], object]] = [regular_file, read_bytes, file_sha256]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux")
@pytest.mark.parametrize("read", READERS)
def test_a_file_that_the_kernel_makes_is_refused(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    """Reading some of them, such as /proc/kmsg, waits for ever."""
    (tmp_path / "link").symlink_to("/proc/self/stat")
    for path in (Path("/proc/self/stat"), tmp_path / "link"):
        with pytest.raises(MedscoreError, match="is made by the kernel"):
            read(path)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_named(
    kind: str, read: Callable[[Path], object], tmp_path: Path
) -> None:
    path = tmp_path / "x"
    KINDS[kind](path)
    with pytest.raises(MedscoreError, match=kind) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert not is_regular(path)
    assert is_there(path)


def test_files_and_folders_pass_through_links(tmp_path: Path) -> None:
    file, folder = tmp_path / "f", tmp_path / "g"
    file.write_bytes(b"abc")
    folder.mkdir()
    for path in (file, folder):
        path.with_suffix(".link").symlink_to(path)
    assert read_bytes(file.with_suffix(".link")) == b"abc"
    assert regular_file(file.with_suffix(".link")) == file.with_suffix(".link")
    assert file_or_folder(folder.with_suffix(".link")).is_dir()


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000, "/".join(["x" * 200] * 30), "f/below"])
def test_impossible_paths_are_refused(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "f").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    for check in (regular_file, file_or_folder):
        with pytest.raises(MedscoreError) as caught:
            check(path)
        assert "\0" not in str(caught.value)
    assert not is_regular(path)
    assert not is_there(path)


def test_a_file_that_may_not_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"")
    monkeypatch.setattr(os, "access", lambda *_: False)  # as for a user who is not the owner
    with pytest.raises(MedscoreError, match=r"cannot be opened \(Permission denied\)"):
        regular_file(path)


def test_a_file_that_becomes_a_pipe_does_not_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was regular when it was checked."""
    path = tmp_path / "x"
    os.mkfifo(path)
    monkeypatch.setattr("medscore.io.opening.regular_file", lambda *_: path)
    with pytest.raises(MedscoreError, match="a named pipe"), open_file(path):
        pass


def test_size_is_limited_before_reading(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abcd")
    with pytest.raises(MedscoreError, match="has 4 bytes, at most 3"):
        read_bytes(tmp_path / "x", most=3)

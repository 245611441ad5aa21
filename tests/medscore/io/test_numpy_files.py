"""Headers of NumPy files and archives are checked before anything is allocated or loaded."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medscore.errors import MedscoreError
from medscore.io.budget import VARIABLE
from medscore.io.numpy_files import is_npz, open_npz, read_npy

ARRAYS = {
    "floats": np.arange(12.0).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(12, dtype=">i2").reshape(3, 4)),
    "complex": np.ones((2, 2), np.complex64),
    "text": np.array(["a", "bc"]),
    "number": np.array(3.0),
    "empty": np.zeros((0, 3)),
}


def npy(descr: str, shape: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    """The bytes of a .npy file with any header."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}".encode()
    return b"\x93NUMPY" + version + (len(text) + 1).to_bytes(2, "little") + text + b"\n" + data


BAD = {
    "no size": npy("'|S0'", "(-1,)", b"abcd"),
    "no size of text": npy("'<U0'", "(5,)", b"abcd"),
    "void": npy("'|V0'", "(5,)"),
    "negative length": npy("'<f4'", "(-1,)", bytes(16)),
    "two negative lengths": npy("'<f4'", "(-2, -2)", bytes(16)),
    "length of a boolean": npy("'<f4'", "(True,)", bytes(4)),
    "length in text": npy("'<f4'", "('4',)", bytes(16)),
    "more than the file": npy("'<f4'", "(5,)", bytes(16)),
    "much more than the file": npy("'<f4'", f"({2**40},)", bytes(16)),
    "more than 64 bits": npy("'<f8'", f"({2**62}, {2**62})", bytes(16)),
    "objects": npy("'|O'", "(2,)", bytes(16)),
    "a structure": npy("[('a', '<f4')]", "(2,)", bytes(8)),
    "times": npy("'<M8[s]'", "(2,)", bytes(16)),
    "another version": npy("'<f4'", "(4,)", bytes(16), b"\x03\x00"),
    "nesting": npy("'<f4'", "(" * 4000, b""),
    "code": npy("__import__('os').abort()", "(2,)"),
    "nothing": b"",
    "no array": b"PK nonsense",
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_are_read_as_they_were_written(name: str, tmp_path: Path) -> None:
    array = ARRAYS[name]
    np.save(tmp_path / "x.npy", array)
    np.savez_compressed(tmp_path / "x.npz", one=array, two=array)
    found = read_npy(tmp_path / "x.npy")
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)
    assert not is_npz(tmp_path / "x.npy")
    assert is_npz(tmp_path / "x.npz")
    with open_npz(tmp_path / "x.npz", "arrays") as archive:
        assert list(archive) == ["one", "two"]
        assert np.array_equal(archive["two"], array)
        assert "three" not in archive


@pytest.mark.parametrize("name", BAD)
def test_a_header_that_lies_is_refused(
    name: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "x.npy").write_bytes(BAD[name])
    assert "cannot be read as NumPy" in refused(read_npy, tmp_path / "x.npy")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.writestr("a.npy", BAD[name])

    def read(path: Path) -> None:
        with open_npz(path, "arrays") as archive:
            archive["a"]

    assert "cannot be read as arrays" in refused(read, tmp_path / "x.npz")


def test_the_budget_bounds_an_archive(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each array fits, but not both."""
    monkeypatch.setenv(VARIABLE, "10K")
    np.savez_compressed(tmp_path / "x.npz", a=np.zeros(1000), b=np.zeros(1000))

    def read(path: Path, *names: str) -> None:
        with open_npz(path, "arrays") as archive:
            for name in names:
                archive[name]

    read(tmp_path / "x.npz", "a")
    assert "memory budget" in refused(read, tmp_path / "x.npz", "a", "b")


def test_other_compressions_are_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    np.save(content, np.zeros(1000))
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_LZMA) as file:
        file.writestr("a.npy", content.getvalue())
    with (
        pytest.raises(MedscoreError, match="another method than deflate"),
        open_npz(tmp_path / "x.npz", "arrays") as archive,
    ):
        archive["a"]

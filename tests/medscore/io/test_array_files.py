"""Every file of arrays has one reader: names, kinds and values of each format, and damage."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from array_writers import hdf5_file, matlab_73
from numpy.typing import NDArray
from scipy.io import savemat

from medscore.errors import MedscoreError
from medscore.io.array_files import is_array_file, open_arrays
from medscore.io.arrays import EXACT, ONLY

REAL = np.arange(12.0).reshape(3, 4)
CONTENT: dict[str, Any] = {"real": REAL, "few": np.array([[1, 2, 3]], np.int16),
                           "waves": REAL + 1j, "word": "mm"}  # fmt: skip


@pytest.fixture(autouse=True)
def no_child_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trial read takes a second for each file; test_mat_files.py has tests of it."""
    monkeypatch.setattr("medscore.io.mat_files.look", lambda *paths, **kind: None)
    monkeypatch.setattr("medscore.io.hdf5.look", lambda *paths, **kind: None)


def npz(folder: Path, content: dict[str, Any]) -> Path:
    np.savez(folder / "a.npz", **content)
    return folder / "a.npz"


def mat4(folder: Path, content: dict[str, Any]) -> Path:
    savemat(folder / "a.mat", content, format="4")
    return folder / "a.mat"


def mat5(folder: Path, content: dict[str, Any]) -> Path:
    savemat(folder / "a.mat", content)
    return folder / "a.mat"


def packed(folder: Path, content: dict[str, Any]) -> Path:
    savemat(folder / "a.mat", content, do_compression=True)
    return folder / "a.mat"


def mat73(folder: Path, content: dict[str, Any]) -> Path:
    return matlab_73(folder / "a.mat", content)


def hdf5(folder: Path, content: dict[str, Any]) -> Path:
    return hdf5_file(folder / "a.h5", content)


FORMATS = {f.__name__: f for f in (npz, mat4, mat5, packed, mat73, hdf5)}
MATLAB = [name for name in FORMATS if name not in ("npz", "hdf5")]
Write = Callable[[Path, dict[str, Any]], Path]


@pytest.mark.parametrize("name", FORMATS)
def test_names_shapes_and_kinds_are_listed_and_values_read(tmp_path: Path, name: str) -> None:
    path = FORMATS[name](tmp_path, CONTENT)
    with open_arrays(path) as arrays:
        assert arrays.shapes == {"real": (3, 4), "few": (1, 3)}
        assert arrays.entries["waves"].kind == "c"
        assert "complex" in arrays.others["waves"]
        assert name == "hdf5" or arrays.entries["word"].kind == "U"
        for key in ("real", "few", "waves"):
            np.testing.assert_array_equal(arrays.read(key), CONTENT[key])
        assert name == "hdf5" or arrays.read("word").ravel().tolist() == ["mm"]
    assert is_array_file(path)


@pytest.mark.parametrize("name", MATLAB)
def test_what_matlab_holds_besides_is_called_as_matlab_calls_it(tmp_path: Path, name: str) -> None:
    content = {**CONTENT, "word": ["one", "three"]}
    if name != "mat4":
        content["flag"] = np.array([[True, False]])
    path = FORMATS[name](tmp_path, content)
    with open_arrays(path) as arrays:
        assert arrays.others["word"] == "char"
        assert [text.strip() for text in arrays.read("word")] == ["one", "three"]
        assert "double" in arrays.others["waves"] or name == "mat4"
        assert arrays.others.get("flag", "logical") == "logical"


@pytest.mark.parametrize("name", ["mat5", "packed", "mat73", "hdf5"])
def test_members_of_structures_are_arrays_but_no_candidates(tmp_path: Path, name: str) -> None:
    if name in ("mat73", "hdf5"):
        path = FORMATS[name](tmp_path, {"real": REAL, "s/deep/b": 2 * REAL})
    else:
        path = FORMATS[name](tmp_path, {"real": REAL, "s": {"deep": {"b": 2 * REAL}}})
    with open_arrays(path) as arrays:
        assert set(arrays.shapes) == {"real"}
        assert name == "hdf5" or arrays.others == {"s": "struct"}
        for spelling in ("s.deep.b", "s/deep/b"):
            np.testing.assert_array_equal(arrays.read(arrays.named(spelling)), 2 * REAL)
        with pytest.raises(MedscoreError, match=r"has no array 's.deep.c' - set array to s.deep.b"):
            arrays.named("s.deep.c")


@pytest.mark.parametrize("name", FORMATS)
def test_only_the_array_that_is_asked_for_is_read(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large array beside it may exceed the memory budget, but for MATLAB 4."""
    path = FORMATS[name](tmp_path, {"real": REAL, "large": np.ones((256, 256))})
    monkeypatch.setenv("MEDSCORE_MEMORY", "100K")
    if name == "mat4":
        with pytest.raises(MedscoreError, match="memory budget"), open_arrays(path):
            pass
        return
    with open_arrays(path) as arrays:
        np.testing.assert_array_equal(arrays.read("real"), REAL)
    with pytest.raises(MedscoreError, match="memory budget"), open_arrays(path) as arrays:
        arrays.read("large")


@pytest.mark.parametrize("name", ["mat73", "hdf5"])
def test_few_values_keep_their_precision_and_many_are_single(tmp_path: Path, name: str) -> None:
    many = np.full((2, EXACT), 1 / 3)
    path = FORMATS[name](tmp_path, {"few": many[:, :5], "many": many})
    with open_arrays(path) as arrays:
        np.testing.assert_array_equal(arrays.read("few"), many[:, :5])
        assert arrays.read("many").dtype == np.float32
        assert arrays.read("many").shape == (2, EXACT)


def test_files_of_one_array_give_it_no_name(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", REAL)
    tifffile.imwrite(tmp_path / "a.tif", REAL)
    for name in ("a.npy", "a.tif"):
        with open_arrays(tmp_path / name) as arrays:
            assert arrays.shapes == {ONLY: (3, 4)}
            np.testing.assert_array_equal(arrays.read(ONLY), REAL)


def test_the_content_counts_and_not_the_name(tmp_path: Path) -> None:
    for write in (npz, hdf5, mat5, mat73):
        path = write(tmp_path, {"real": REAL}).rename(tmp_path / "a.dat")
        with open_arrays(path) as arrays:
            assert arrays.shapes == {"real": (3, 4)}


def test_pickled_objects_are_listed_and_not_read(tmp_path: Path) -> None:
    trap: NDArray[Any] = np.array([{}], dtype=object)
    np.savez(tmp_path / "a.npz", real=REAL, trap=trap)
    with open_arrays(tmp_path / "a.npz") as arrays:
        assert arrays.others == {"trap": "no array of numbers"}
        assert set(arrays.entries) == {"real"}
    with pytest.raises(MedscoreError), open_arrays(tmp_path / "a.npz") as arrays:
        arrays.read("trap")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kept", [0, 3, 40, 300])
def test_truncated_files_are_refused_in_one_line(tmp_path: Path, name: str, kept: int) -> None:
    path = FORMATS[name](tmp_path, {"real": REAL, "large": np.ones((64, 64))})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(MedscoreError) as refusal, open_arrays(path) as arrays:
        arrays.read("real"), arrays.read("large")
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)

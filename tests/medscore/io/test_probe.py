"""Files that crash or hang a library are distinguished from valid and merely damaged ones."""

import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from medscore.datasets.raw.kspace_files import read_kspace
from medscore.io import probe

Refused = Callable[..., str]


def _child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str) -> None:
    """Replaces the child process of the probe."""
    script = tmp_path / "child.py"
    script.write_text(code)
    monkeypatch.setattr(probe, "__file__", str(script))


@pytest.fixture
def kspace(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "k.h5", "w") as file:
        file["kspace"] = np.ones((1, 16, 16), np.complex64)
    return tmp_path / "k.h5"


def test_a_sound_file_passes(kspace: Path) -> None:
    assert probe.probe("hdf5", [kspace]) is None
    assert read_kspace(kspace, spacing=(1.0, 1.0)).kspace.shape == (1, 1, 16, 16)


def test_what_raises_is_left_to_the_reader(tmp_path: Path) -> None:
    (tmp_path / "x.h5").write_text("no HDF5")
    assert probe.probe("hdf5", [tmp_path / "x.h5"]) is None


def test_a_crash_is_refused(
    kspace: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _child(monkeypatch, tmp_path, "import os; os.abort()")
    assert "crashes on it" in refused(read_kspace, kspace)


def test_a_hang_is_refused(
    kspace: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _child(monkeypatch, tmp_path, "import time; time.sleep(60)")
    monkeypatch.setattr(probe, "SECONDS", 0.5)
    assert "did not finish" in refused(read_kspace, kspace)


@pytest.mark.skipif(sys.platform != "linux", reason="the memory is limited on Linux only")
def test_a_file_that_makes_the_library_take_memory_is_refused(
    refused: Refused, tmp_path: Path
) -> None:
    """The index of the chunks says that one has 3.75 GiB."""
    path = tmp_path / "k.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("kspace", data=np.ones((1, 16, 16), np.complex64), compression="gzip")
    content = bytearray(path.read_bytes())
    place = content.index(b"TREE\x01") + 24  # the size of the first chunk in bytes
    content[place : place + 4] = (0xF0000000).to_bytes(4, "little")
    path.write_bytes(content)
    assert "more memory than its size" in refused(read_kspace, path)


LOOP = f"""
import sys
sys.path.insert(0, {str(Path(probe.__file__).parent)!r})
import probe
probe.STALL = 0.2
def loop(path):
    while "b.h5" in path:
        pass
probe._hdf5 = loop
sys.exit(probe.main())
"""


def test_a_loop_is_stopped_by_its_cpu_time_and_its_file_is_named(
    kspace: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = [kspace.with_name(name) for name in ("a.h5", "b.h5", "c.h5")]
    for file in files:
        file.write_bytes(kspace.read_bytes())
    _child(monkeypatch, tmp_path, LOOP)
    found = probe.probe("hdf5", files)
    assert found is not None
    assert found[0] == files[1]
    assert "does not finish" in found[1]


def test_each_file_is_looked_at_once(kspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Path] = []
    plain = probe.probe

    def spy(kind: str, paths: list[Path], declared: int | None) -> tuple[Path, str] | None:
        looks.extend(paths)
        return plain(kind, paths, declared)

    monkeypatch.setattr(probe, "probe", spy)
    for _ in range(2):
        read_kspace(kspace, spacing=(1.0, 1.0))
    assert looks == [kspace]


def test_a_file_that_failed_fails_again_without_a_second_look(
    kspace: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _child(monkeypatch, tmp_path, "import os; os.abort()")
    refused(read_kspace, kspace)
    monkeypatch.setattr(probe, "probe", lambda *_: None)
    assert "crashes on it" in refused(read_kspace, kspace)

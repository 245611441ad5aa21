"""Files that crash or hang a library are distinguished from valid and merely damaged ones."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from medscore.datasets import probe
from medscore.datasets.raw.kspace_files import read_kspace

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

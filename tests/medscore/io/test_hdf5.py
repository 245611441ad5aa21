"""HDF5 files hold everything themselves: no link is followed, within a file or to another one."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from medscore.datasets.raw.kspace_files import read_kspace
from medscore.io.budget import VARIABLE
from medscore.io.hdf5 import SEAL_SIZE, array, open_hdf5, seal

Refused = Callable[..., str]
K = np.ones((1, 16, 16), np.complex64)


WAYS: list[dict[str, Any]] = [
    {"fletcher32": True}, {"shuffle": True}, {"fletcher32": True, "compression": "gzip"},
    {"fletcher32": True, "compression": "lzf"},
]  # fmt: skip


@pytest.mark.parametrize("size", [1, 4, 100])
@pytest.mark.parametrize("has_seal", [False, True])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(map(str, way)))
def test_a_chunk_that_is_too_short_for_its_filters_is_refused(
    refused: Refused, tmp_path: Path, way: dict[str, Any], has_seal: bool, size: int
) -> None:
    """The library reads beyond such a chunk; what stands before it must not hide it."""
    path = tmp_path / "m.h5"
    with h5py.File(path, "w", userblock_size=SEAL_SIZE) as file:
        file.create_dataset("a", data=np.zeros((0, 3)))
        made = file.create_dataset("data", data=K, chunks=K.shape, **way)
        made.id.write_direct_chunk((0, 0, 0), bytes(range(size)))
    if has_seal:
        seal(path)

    def read(path: Path) -> None:
        with open_hdf5(path) as file:
            array(file["data"], "c")

    assert str(path) in refused(read, path)


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A file that no reader may open for another one; here, a pipe that would block it."""
    os.mkfifo(tmp_path / "other.h5")
    return tmp_path / "other.h5"


def _external_link(file: h5py.File, other: Path) -> None:
    file["kspace"] = h5py.ExternalLink(str(other), "/kspace")


def _unused_external_link(file: h5py.File, other: Path) -> None:
    file["kspace"] = K
    file["more/deep"] = h5py.ExternalLink(str(other), "/kspace")


def _external_values(file: h5py.File, other: Path) -> None:
    file.create_dataset("kspace", K.shape, K.dtype, external=[(str(other), 0, K.nbytes)])


def _virtual(file: h5py.File, other: Path) -> None:
    layout = h5py.VirtualLayout(K.shape, K.dtype)
    layout[:] = h5py.VirtualSource(str(other), "kspace", K.shape)
    file.create_virtual_dataset("kspace", layout)


def _soft_link(file: h5py.File, other: Path) -> None:
    file["real"] = K
    file["kspace"] = h5py.SoftLink("/real")


def _loop(file: h5py.File, other: Path) -> None:
    file["kspace"] = h5py.SoftLink("/kspace")


KINDS = {
    "an external link": (_external_link, "is a link to another file"),
    "an unused external link": (_unused_external_link, "is a link to another file"),
    "external values": (_external_values, "are in another file"),
    "a virtual array": (_virtual, "are in another file"),
    "a soft link": (_soft_link, "is a link"),
    "a soft link to itself": (_loop, "is a link"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_leads_elsewhere_is_refused(
    kind: str, refused: Refused, tmp_path: Path, other: Path
) -> None:
    make, said = KINDS[kind]
    with h5py.File(tmp_path / "k.h5", "w") as file:
        make(file, other)
    assert said in refused(read_kspace, tmp_path / "k.h5")


def test_hard_links_are_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "k.h5", "w") as file:
        file["real"] = K
        file["kspace"] = file["real"]
        file["group/above"] = file["/"]  # a cycle
    assert read_kspace(tmp_path / "k.h5", spacing=(1.0, 1.0)).kspace.shape == (1, 1, 16, 16)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_zeroed_parts_are_refused_or_read(share: float, tmp_path: Path) -> None:
    """Headers in the middle that are zero make h5py raise KeyError, among others."""
    with h5py.File(tmp_path / "k.h5", "w") as file:
        file["kspace"] = K
        file["more/of/it"] = K
    content = bytearray((tmp_path / "k.h5").read_bytes())
    start = int(share * (len(content) - 2 * K.nbytes))
    content[start : start + 300] = bytes(300)
    (tmp_path / "k.h5").write_bytes(content)
    try:
        read_kspace(tmp_path / "k.h5", spacing=(1.0, 1.0))
    except Exception as error:
        assert type(error).__name__ == "MedscoreError"  # noqa: PT017


@pytest.mark.parametrize("kind", ["<f8", ">f8", "<i2", "<c16", "<f4"])
@pytest.mark.parametrize("chunks", [None, (3, 4, 5)])
def test_values_are_converted_in_parts(
    kind: str, chunks: tuple[int, ...] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medscore.io.hdf5.SLAB", 300)
    values = (np.arange(7 * 8 * 9).reshape(7, 8, 9) - 250).astype(kind)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", data=values, chunks=chunks)
    with open_hdf5(tmp_path / "x.h5") as file:
        found = array(file["x"], "iufc")
    single = np.complex64 if values.dtype.kind == "c" else np.float32
    assert found.dtype == single
    assert np.array_equal(found, values.astype(single))


def test_the_budget_is_checked_before_reading(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "1K")
    with h5py.File(tmp_path / "k.h5", "w") as file:
        file["kspace"] = K
    assert "more than the memory budget" in refused(read_kspace, tmp_path / "k.h5")

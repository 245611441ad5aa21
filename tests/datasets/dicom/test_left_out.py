"""Files of a folder that cannot be read are named, and no series loses its middle silently."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from medscore.datasets.dicom.files import list_series, listing
from medscore.datasets.dicom.form import is_dicom
from medscore.datasets.dicom.read import read_dicom
from medscore.datasets.load import read_volume

Bundled = Callable[[str], Path]
Refused = Callable[..., str]
WriteSlice = Callable[..., Path]
COUNT = 6


@pytest.fixture
def series(write_slice: WriteSlice, ramp: NDArray[np.int64]) -> Path:
    for k in range(COUNT):
        path = write_slice(
            f"IM{k}", ramp + 2 * k, ImagePositionPatient=[0, 0, 2 * k], InstanceNumber=k + 1
        )
    return path.parent


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _replaced(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1")


def _linked(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


UNREADABLE = {"empty": _emptied, "zeros": _zeroed, "not DICOM": _replaced, "a link": _linked}


@pytest.mark.parametrize("why", UNREADABLE)
@pytest.mark.parametrize("lost", [[5], [4, 5], [0]])
def test_an_unreadable_file_at_the_end_is_named(series: Path, why: str, lost: list[int]) -> None:
    for k in lost:
        UNREADABLE[why](series / f"IM{k}")
    volume = read_dicom(series)
    assert len(volume.values) == COUNT - len(lost)
    assert f"left out: IM{lost[0]} ({why}" in volume.source.notes[0]


@pytest.mark.parametrize("why", UNREADABLE)
@pytest.mark.parametrize("lost", [[2], [2, 3], [1, 3, 5]])  # the last leaves even distances
def test_a_series_without_its_middle_is_refused(
    series: Path, refused: Refused, why: str, lost: list[int]
) -> None:
    for k in lost:
        UNREADABLE[why](series / f"IM{k}")
    message = refused(read_dicom, series)
    assert "missing" in message
    assert f"IM{lost[0]} ({why}" in message


@pytest.mark.parametrize("number", [{}, {"InstanceNumber": 1}])
def test_even_slices_without_numbers_are_refused_if_each_gap_may_have_lost_one(
    write_slice: WriteSlice, refused: Refused, ramp: NDArray[np.int64], number: dict[str, int]
) -> None:
    for k in range(COUNT):
        path = write_slice(f"IM{k}", ramp + 2 * k, ImagePositionPatient=[0, 0, 2 * k], **number)
        if k == COUNT - 1:
            _emptied(path)
    assert len(read_dicom(path.parent).values) == COUNT - 1
    for k in (1, 3):
        _emptied(path.with_name(f"IM{k}"))
    assert "may have lost every other" in refused(read_dicom, path.parent)


def _without_preamble(path: Path) -> None:
    path.write_bytes(path.read_bytes()[132:])


def _zeros_for_preamble(path: Path) -> None:
    path.write_bytes(bytes(132) + path.read_bytes()[132:])


def _gzipped(path: Path) -> None:
    path.with_name(path.name + ".dcm.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


def _gzipped_without_preamble(path: Path) -> None:
    _without_preamble(path)
    _gzipped(path)


READABLE = [_without_preamble, _zeros_for_preamble, _gzipped, _gzipped_without_preamble]


@pytest.mark.parametrize("change", READABLE)
def test_other_forms_of_dicom_are_read(series: Path, change: Callable[[Path], None]) -> None:
    expected = read_dicom(series)
    for k in (2, 5):
        change(series / f"IM{k}")
    found = read_dicom(series)
    np.testing.assert_array_equal(found.values, expected.values)
    assert found.source.notes == ()
    alone = next(iter(series.glob("IM5*")))
    assert is_dicom(alone)
    np.testing.assert_array_equal(read_volume(alone).values[0], expected.values[5])


@pytest.mark.parametrize("name", ["no_meta.dcm", "ExplVR_BigEndNoMeta.dcm", "rtplan_truncated.dcm"])
def test_a_file_without_an_image_is_refused_in_one_line(
    bundled: Bundled, refused: Refused, name: str
) -> None:
    assert refused(read_dicom, bundled(name))


@pytest.mark.parametrize(
    "name",
    ["README", "readme.txt", "DICOMDIR", ".DS_Store", "Thumbs.db", ".IM9", "report.pdf", "a.nii.gz",
     "viewer.exe", "LICENSE", "checksums.md5", "index.html", "b.json"],
)  # fmt: skip
def test_what_accompanies_an_export_is_passed_over(series: Path, name: str) -> None:
    (series / name).write_bytes(b"something else")
    assert read_dicom(series).source.notes == ()


@pytest.mark.parametrize("name", ["IM9", "slice.dcm", "0007.IMA", "I.001", "1.2.840.9", "x.dcm.gz"])
def test_what_may_be_a_slice_is_named(series: Path, name: str) -> None:
    (series / name).write_bytes(b"something else")
    assert name in (listing(series).note() or "")
    (found,) = list_series(series)
    assert len(found.files) == COUNT


def test_a_folder_of_nothing_else_is_refused_with_their_names(
    tmp_path: Path, refused: Refused
) -> None:
    (tmp_path / "a.dcm").write_bytes(b"")
    assert "a.dcm (empty)" in refused(read_dicom, tmp_path)

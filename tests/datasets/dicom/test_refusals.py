"""DICOM that is refused, always in one line that names the file and gives a hint."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medscore.datasets.dicom.files import list_series
from medscore.datasets.dicom.read import read_dicom
from medscore.errors import MedscoreError

Bundled = Callable[[str], Path]
Refused = Callable[..., str]
WriteSlice = Callable[..., Path]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("SC_rgb_jpeg.dcm", "colour"),
        ("SC_rgb_rle_2frame.dcm", "colour"),
        ("rtdose.dcm", "multi-frame"),
        ("rtplan.dcm", "no image"),
        ("MR_truncated.dcm", "truncated"),
        ("no_meta.dcm", "cannot be read as DICOM"),
        ("README.txt", "cannot be read as DICOM"),
    ],
)
def test_refuses_bundled(bundled: Bundled, refused: Refused, name: str, why: str) -> None:
    assert why in refused(read_dicom, bundled(name))


@pytest.mark.parametrize(
    ("elements", "why"),
    [
        ({"PixelSpacing": None}, "PixelSpacing"),
        ({"PixelSpacing": [0, 0.5]}, "PixelSpacing"),
        ({"PixelSpacing": [0.5, float("inf")]}, "PixelSpacing"),
        ({"NumberOfFrames": 2}, "NumberOfFrames is 2, but the pixel data hold 1"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "colour"),
        ({"Rows": None}, "cannot be decoded"),
        ({"Rows": 9}, "cannot be decoded"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "ImageOrientationPatient"),
        ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, "ImageOrientationPatient"),
    ],
)
def test_refuses_a_slice_with(
    write_slice: WriteSlice,
    refused: Refused,
    ramp: NDArray[np.int64],
    elements: dict[str, Any],
    why: str,
) -> None:
    assert why in refused(read_dicom, write_slice("a.dcm", ramp, **elements))


def test_refuses_a_constant_image(
    write_slice: WriteSlice, refused: Refused, ramp: NDArray[np.int64]
) -> None:
    assert "constant" in refused(read_dicom, write_slice("a.dcm", 0 * ramp))


@pytest.mark.parametrize("name", ["CT_small.dcm", "J2K_pixelrep_mismatch.dcm"])
@pytest.mark.parametrize("kept", [0.001, 0.004, 0.02, 0.2, 0.5, 0.9, 0.99])
def test_refuses_a_file_cut_short(
    bundled: Bundled, refused: Refused, tmp_path: Path, name: str, kept: float
) -> None:
    content = bundled(name).read_bytes()
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(content[: int(kept * len(content))])
    assert refused(read_dicom, cut)


@pytest.mark.parametrize("name", ["JPEG2000.dcm", "MR_small_RLE.dcm"])
@pytest.mark.parametrize("lost", [1, 8, 60, 200])
def test_a_compressed_file_cut_short_is_refused_or_has_lost_no_pixel(
    bundled: Bundled, tmp_path: Path, name: str, lost: int
) -> None:
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(bundled(name).read_bytes()[:-lost])
    with contextlib.suppress(MedscoreError):
        found = read_dicom(cut)
        np.testing.assert_array_equal(found.values, read_dicom(bundled(name)).values)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"-10\\-20\\0", b"-10\\-2x\\0"),
        (b"0.8\\0.5", b"0.8\\0,5"),
        (b"MONOCHROME2", b"MONOCHROME\xff"),
        (b"\x28\x00\x10\x00US", b"\x28\x00\x10\x00Q!"),
    ],
)
def test_refuses_a_damaged_header(
    write_slice: WriteSlice, refused: Refused, ramp: NDArray[np.int64], old: bytes, new: bytes
) -> None:
    path = write_slice("a.dcm", ramp)
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    assert refused(read_dicom, path)


@pytest.mark.parametrize(
    ("second", "why"),
    [
        ({"SeriesInstanceUID": "1.2.3.9"}, "2 series"),
        ({"ImagePositionPatient": [-10, -20, 0]}, "two slices have the same position"),
        ({"ImagePositionPatient": None}, "ImagePositionPatient"),
        ({"ImageOrientationPatient": [0, 1, 0, 1, 0, 0]}, "slices differ in ImageOrientation"),
        ({"PixelSpacing": [0.8, 0.8]}, "slices differ in PixelSpacing"),
        ({"Modality": "MR"}, "slices differ in Modality"),
    ],
)
def test_refuses_a_folder_whose_slices_do_not_belong_together(
    write_slice: WriteSlice,
    refused: Refused,
    ramp: NDArray[np.int64],
    second: dict[str, Any],
    why: str,
) -> None:
    write_slice("a.dcm", ramp)
    elements = {"ImagePositionPatient": [-10, -20, 2.5]} | second
    path = write_slice("b.dcm", ramp, **elements)
    assert why in refused(read_dicom, path.parent)


def test_refuses_slices_of_two_shapes(
    write_slice: WriteSlice, refused: Refused, ramp: NDArray[np.int64]
) -> None:
    write_slice("a.dcm", ramp)
    path = write_slice("b.dcm", ramp[:6], ImagePositionPatient=[-10, -20, 2.5])
    assert "slices differ in Rows" in refused(read_dicom, path.parent)


def test_refuses_uneven_distances(
    write_slice: WriteSlice, refused: Refused, ramp: NDArray[np.int64]
) -> None:
    for z in (0, 2.5, 7.5):
        path = write_slice(f"{z}.dcm", ramp, ImagePositionPatient=[-10, -20, z])
    assert "2.5 to 5 mm apart" in refused(read_dicom, path.parent)


def test_refuses_a_folder_without_dicom(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not an image")
    assert "no DICOM file" in refused(read_dicom, tmp_path)


def test_a_damaged_file_in_a_folder_is_named(
    write_slice: WriteSlice, refused: Refused, ramp: NDArray[np.int64]
) -> None:
    path = write_slice("a.dcm", ramp)
    broken = path.with_name("b.dcm")
    broken.write_bytes(path.read_bytes()[:200])
    assert str(broken) in refused(read_dicom, path.parent)


@pytest.mark.parametrize(
    "tag", [b"\x20\x00\x0e\x00UI", b"\x20\x00\x11\x00IS", b"\x08\x00\x60\x00CS"]
)
def test_an_element_of_an_unknown_kind_in_a_folder_is_refused(
    write_slice: WriteSlice, refused: Refused, ramp: NDArray[np.int64], tag: bytes
) -> None:
    path = write_slice("a.dcm", ramp, SeriesNumber=3)
    content = path.read_bytes()
    assert tag in content
    path.write_bytes(content.replace(tag, tag[:4] + b"UM"))
    assert str(path) in refused(list_series, path.parent)
    assert str(path) in refused(read_dicom, path.parent)

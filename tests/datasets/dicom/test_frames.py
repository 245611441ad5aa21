"""Enhanced multi-frame objects, and the meaning of stored pixel values."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import RLELossless

from medscore.datasets.dicom.read import read_dicom
from medscore.datasets.volume import AIR

Bundled = Callable[[str], Path]
Refused = Callable[..., str]
WriteSlice = Callable[..., Path]


def test_frames_are_sorted_and_lie_where_their_groups_say(
    enhanced: Callable[..., Path], ramp: NDArray[np.int64]
) -> None:
    volume = read_dicom(enhanced([4, 0, 2]))
    np.testing.assert_array_equal(volume.values, np.stack([ramp + 100, ramp + 200, ramp]))
    assert volume.spacing == (0.5, 0.8, 2.0)
    np.testing.assert_allclose(volume.affine[:3, 3], [10, 20, 0])
    assert len(set(volume.source.instances)) == 1


def test_each_frame_has_its_own_rescaling(
    enhanced: Callable[..., Path], ramp: NDArray[np.int64]
) -> None:
    volume = read_dicom(enhanced([0, 2], [-1024, -24]))
    np.testing.assert_array_equal(volume.values, np.stack([ramp, ramp + 1100]))


def test_a_compressed_enhanced_object_reads_the_same(enhanced: Callable[..., Path]) -> None:
    path = enhanced([0, 2, 4])
    expected = read_dicom(path).values
    ds = pydicom.dcmread(path)
    ds.compress(RLELossless)
    ds.save_as(path.with_name("rle.dcm"), enforce_file_format=True)
    np.testing.assert_array_equal(read_dicom(path.with_name("rle.dcm")).values, expected)


def test_uneven_frames_are_refused(enhanced: Callable[..., Path], refused: Refused) -> None:
    assert "mm apart" in refused(read_dicom, enhanced([0, 2, 5.1, 7.1]))


def _stored(path: Path) -> NDArray[Any]:
    return np.asarray(pydicom.dcmread(path).pixel_array, dtype=float)


INVERTED = {"PhotometricInterpretation": "MONOCHROME1"}


def test_hu_are_kept_however_they_are_displayed(
    write_slice: WriteSlice, ramp: NDArray[np.int64]
) -> None:
    ct = read_dicom(write_slice("ct.dcm", ramp, **INVERTED))
    assert np.array_equal(ct.values[0], ramp)
    assert "MONOCHROME1" in ct.source.notes[0]


@pytest.mark.parametrize(
    ("signed", "bits", "largest"), [(0, 16, 65535), (0, 12, 4095), (1, 16, 32767), (1, 12, 2047)]
)
def test_inverted_magnitudes_are_turned_over_alike_in_every_slice(
    write_slice: WriteSlice, ramp: NDArray[np.int64], signed: int, bits: int, largest: int
) -> None:
    """DICOM PS3.3 C.7.6.3.1.2; the slices have other extremes, and equal tissue stays equal."""
    elements = {"Modality": "MR", "PixelRepresentation": signed, "BitsStored": bits,
                "HighBit": bits - 1, **INVERTED}  # fmt: skip
    dim, bright = (
        write_slice(f"{k}.dcm", hu, ImagePositionPatient=[0, 0, k], **elements)
        for k, hu in enumerate((ramp, np.where(ramp > -500, 1000, ramp)))
    )
    expected = np.stack([2 * (largest - _stored(path)) - 1024 for path in (dim, bright)])
    volume = read_dicom(dim.parent)
    assert np.array_equal(volume.values, expected)
    assert np.array_equal(read_dicom(bright).values[0], expected[1])  # alone as in its series
    assert "values were inverted" in volume.source.notes[0]


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_of_magnitudes_is_0_however_they_are_displayed(
    write_slice: WriteSlice, ramp: NDArray[np.int64], photometric: str
) -> None:
    padded = np.where(np.arange(ramp.shape[1]) < 2, -2048, ramp)
    elements = {"Modality": "MR", "PhotometricInterpretation": photometric}
    plain = read_dicom(write_slice("plain.dcm", padded, **elements))
    stored = int(_stored(write_slice("plain.dcm", padded, **elements))[0, 0])
    found = read_dicom(write_slice("a.dcm", padded, PixelPaddingValue=stored, **elements))
    assert not found.values[0][:, :2].any()
    np.testing.assert_array_equal(found.values[0][:, 2:], plain.values[0][:, 2:])
    assert "pixels with the padding value were set to 0" in found.source.notes


@pytest.mark.parametrize("keyword", ["BitsStored", "PixelRepresentation"])
def test_slices_that_would_be_inverted_differently_are_refused(
    write_slice: WriteSlice, refused: Refused, ramp: NDArray[np.int64], keyword: str
) -> None:
    for k, value in enumerate((0, 1)):
        bits = {"BitsStored": 16 - value, "HighBit": 15 - value}
        changed = bits if keyword == "BitsStored" else {"PixelRepresentation": value}
        elements = {"Modality": "MR", "ImagePositionPatient": [0, 0, k], **INVERTED, **changed}
        path = write_slice(f"{k}.dcm", ramp, **elements)
    assert f"slices differ in {keyword}" in refused(read_dicom, path.parent)


@pytest.mark.parametrize("photometric", ["PALETTE COLOR", "ARGB", "HSV", "CMYK"])
def test_colours_with_one_sample_per_pixel_are_refused(
    write_slice: WriteSlice, refused: Refused, ramp: NDArray[np.int64], photometric: str
) -> None:
    path = write_slice("a.dcm", ramp, PhotometricInterpretation=photometric)
    assert f"colour image ({photometric})" in refused(read_dicom, path)


@pytest.mark.parametrize("shared", ["empty", "absent"])
def test_frames_may_hold_all_their_groups_themselves(
    enhanced: Callable[..., Path], shared: str
) -> None:
    path = enhanced([4, 0, 2])
    expected = read_dicom(path)
    ds = pydicom.dcmread(path)
    for item in ds.PerFrameFunctionalGroupsSequence:
        for element in ds.SharedFunctionalGroupsSequence[0]:
            item.add(element)
    ds.SharedFunctionalGroupsSequence = Sequence([Dataset()])
    if shared == "absent":
        del ds.SharedFunctionalGroupsSequence
    ds.save_as(path)
    found = read_dicom(path)
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_array_equal(found.affine, expected.affine)


@pytest.mark.process
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.50"])
def test_jpeg_of_12_bits_is_decoded(bundled: Bundled, tmp_path: Path, syntax: str) -> None:
    """The two values were read in another viewer by pydicom's authors."""
    ds = pydicom.dcmread(bundled("JPEG-lossy.dcm"))
    ds.Modality, ds.PixelSpacing, ds.ImagePositionPatient = "MR", [1, 1], [0, 0, 0]
    ds.file_meta.TransferSyntaxUID = syntax
    ds.save_as(tmp_path / "a.dcm")
    found = read_dicom(tmp_path / "a.dcm").values[0]
    assert (found[420, 140], found[230, 120]) == (244, 95)


def test_a_range_of_padding_becomes_air(write_slice: WriteSlice, ramp: NDArray[np.int64]) -> None:
    padded = ramp.copy()
    padded[0, :3] = -5120, -5118, -5100
    path = write_slice("a.dcm", padded, PixelPaddingValue=-2048, PixelPaddingRangeLimit=-2040)
    found = read_dicom(path).values[0]
    assert (found[0, :2] == AIR).all()
    assert found[0, 2] == -5100


def test_a_modality_table_is_applied(write_slice: WriteSlice, ramp: NDArray[np.int64]) -> None:
    stored = (ramp + 1024) // 2
    table = np.arange(0, 3 * (stored.max() + 1), 3)
    lut = Dataset()
    lut.LUTDescriptor = [len(table), 0, 16]
    lut.ModalityLUTType = "US"
    lut.add_new("LUTData", "US", table.tolist())
    path = write_slice(
        "a.dcm", ramp, RescaleSlope=None, RescaleIntercept=None, ModalityLUTSequence=[lut],
        PixelRepresentation=0,
    )  # fmt: skip
    assert np.array_equal(read_dicom(path).values[0], 3 * stored)


@pytest.mark.parametrize("elements", [{"RescaleSlope": 0}])
def test_rescaling_that_makes_no_image_is_refused(
    write_slice: WriteSlice, refused: Refused, ramp: NDArray[np.int64], elements: dict[str, Any]
) -> None:
    assert "RescaleSlope 0" in refused(read_dicom, write_slice("a.dcm", ramp, **elements))


@pytest.mark.parametrize(
    "name",
    ["MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm",
     "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_padded.dcm"],
)  # fmt: skip
def test_every_lossless_encoding_reads_the_same(bundled: Bundled, name: str) -> None:
    expected = read_dicom(bundled("MR_small.dcm")).values
    np.testing.assert_array_equal(read_dicom(bundled(name)).values, expected)

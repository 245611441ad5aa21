"""CT and MR slices at their own matrix and pixel size, from archives and NIfTI volumes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from medscore.datasets.collections.native_slices import Reading, load_native_slices, squared
from medscore.errors import MedscoreError

LIMITS = Reading((-1000.0, 1500.0))
MAGNITUDE = Reading((0.0, 1.0), quantity="magnitude")


def hu(n: int, rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(n).integers(-1000, 1500, (n, rows, columns)).astype(np.int16)


def archive(path: Path, values: np.ndarray, spacing: object) -> Path:
    patients = [f"p{i}" for i in range(len(values))]
    np.savez(path, hu=values, patient=patients, pixel_spacing_mm=np.asarray(spacing, float))
    return path


def volume(path: Path, values: np.ndarray, spacing: tuple[float, float] = (0.7, 0.7)) -> Path:
    affine = np.diag([-spacing[0], -spacing[1], 5.0, 1.0])
    nib.save(nib.Nifti1Image(values.transpose(2, 1, 0).copy(), affine), path)
    return path


def test_an_archive_gives_each_slice_at_its_own_pixel_size(tmp_path: Path) -> None:
    values = hu(3, 20, 16)
    archive(tmp_path / "a.npz", values, [0.6, 0.7, 0.8])
    found = load_native_slices(["a.npz"], tmp_path, LIMITS)
    assert [s.pixel_mm for s in found.slices] == [0.6, 0.7, 0.8]
    assert found.patients == ("p0", "p1", "p2")
    expected = (torch.from_numpy(values.astype(np.float32)) + 1000) / 2500
    for i, one in enumerate(found.slices):
        assert one.image.dtype == torch.float16
        torch.testing.assert_close(one.image.float(), expected[i], rtol=0, atol=3e-4)


def test_a_volume_gives_its_slices_with_the_columns_as_displayed(tmp_path: Path) -> None:
    values = hu(2, 12, 16)
    volume(tmp_path / "a.nii.gz", values)
    found = load_native_slices(["*.nii.gz"], tmp_path, LIMITS)
    assert [s.pixel_mm for s in found.slices] == pytest.approx([0.7, 0.7])
    assert len(set(found.patients)) == 1
    expected = (values[0].astype(np.float32) + 1000) / 2500
    np.testing.assert_allclose(found.slices[0].image.float(), expected, atol=3e-4)


def test_values_outside_the_limits_are_clipped_and_empty_slices_left_out(tmp_path: Path) -> None:
    values = hu(3, 16, 16)
    values[0] = -1000
    values[1, :8], values[1, 8:] = -3000, 3000
    archive(tmp_path / "a.npz", values, [1.0, 1.0, 1.0])
    found = load_native_slices(["a.npz"], tmp_path, LIMITS)
    assert found.patients == ("p1", "p2")
    assert set(found.slices[0].image.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("kind", ["npz", "nii.gz"])
def test_pixels_that_are_not_square_are_refused(tmp_path: Path, kind: str) -> None:
    if kind == "npz":
        archive(tmp_path / "a.npz", hu(2, 8, 8), [[0.7, 0.7], [0.7, 0.9]])
    else:
        volume(tmp_path / "a.nii.gz", hu(2, 8, 8), (0.9, 0.7))
    with pytest.raises(MedscoreError, match=r"0\.[79] x 0\.[79] mm are not square") as refused:
        load_native_slices([f"a.{kind}"], tmp_path, LIMITS)
    assert f"a.{kind}" in str(refused.value)


def test_an_archive_without_pixel_sizes_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", hu=hu(2, 8, 8), patient=["a", "b"])
    with pytest.raises(MedscoreError, match="pixel_spacing_mm"):
        load_native_slices(["a.npz"], tmp_path, LIMITS)


def test_files_without_content_are_refused(tmp_path: Path) -> None:
    archive(tmp_path / "a.npz", np.zeros((2, 8, 8), np.int16), [1.0, 1.0])
    with pytest.raises(MedscoreError, match="no slice has content"):
        load_native_slices(["a.npz"], tmp_path, LIMITS)


def magnitudes(path: Path, values: np.ndarray, **arrays: Any) -> Path:
    stated = {"pixel_spacing_mm": np.full(len(values), 0.5), "patient": ["p"] * len(values)}
    np.savez(path, image=values, **(stated | arrays))
    return path


def slices_of(n: int, rows: int = 20, columns: int = 16) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 900, (n, rows, columns)).astype(np.uint16)


def test_magnitudes_are_in_units_of_their_own_quantile(tmp_path: Path) -> None:
    values = slices_of(3)
    values[1] *= 20
    magnitudes(tmp_path / "a.npz", values[1:])
    found = load_native_slices(["a.npz"], tmp_path, MAGNITUDE).slices
    assert len(found) == 1  # the other one is air beside the patient's brightest slice
    expected = values[1] / np.quantile(values[1], 0.995)
    np.testing.assert_allclose(found[0].image.float(), expected, rtol=2e-3, atol=1e-3)
    assert float(found[0].image.max()) > 1


def test_each_slice_has_its_contrast_or_that_of_its_source(tmp_path: Path) -> None:
    magnitudes(tmp_path / "a.npz", slices_of(3), contrast=["T2 FS", "FLAIR", "DWI"])
    reading = replace(MAGNITUDE, classes=("FLAIR", "T2"))
    for told, labels in ((None, [2, 1, 0]), ("FLAIR", [1, 1, 1]), ("none", [0, 0, 0])):
        found = load_native_slices(["a.npz"], tmp_path, replace(reading, contrast=told))
        assert [one.label for one in found.slices] == labels
    plain = load_native_slices(["a.npz"], tmp_path, MAGNITUDE)
    assert [one.label for one in plain.slices] == [0, 0, 0]


def test_a_pixel_size_can_be_told_where_none_is_stated(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=slices_of(2), patient=["a", "b"])
    with pytest.raises(MedscoreError, match="pixel_spacing_mm"):
        load_native_slices(["a.npz"], tmp_path, MAGNITUDE)
    magnitudes(tmp_path / "b.npz", slices_of(2))
    told = replace(MAGNITUDE, pixel_mm=0.9)
    found = load_native_slices(["a.npz", "b.npz"], tmp_path, told).slices
    assert [one.pixel_mm for one in found] == [0.9, 0.9, 0.5, 0.5]


@pytest.mark.parametrize("sides", [(0.8, 1.0), (1.0, 0.8)])
def test_nearly_square_pixels_are_averaged_along_their_shorter_side(
    sides: tuple[float, float],
) -> None:
    """A ramp along the shorter side stays a ramp, of the longer pixels, about the same centre."""
    axis = 0 if sides[0] < sides[1] else 1
    ramp = torch.arange(21.0) - 10
    image = (ramp[:, None] if axis == 0 else ramp).expand(21, 21).clone()
    found = squared(image, sides)
    assert found.shape == ((16, 21) if axis == 0 else (21, 16))
    line = found[:, 0] if axis == 0 else found[0]
    torch.testing.assert_close(line, 1.25 * (torch.arange(16.0) - 7.5), rtol=0, atol=0.13)
    torch.testing.assert_close(line, -line.flip(0))
    assert squared(image, (0.7, 0.7)) is image


def test_a_reformatted_volume_gets_square_pixels_and_a_flat_one_is_refused(tmp_path: Path) -> None:
    volume(tmp_path / "a.nii.gz", slices_of(2, 12, 20).astype(np.int16), (0.8, 1.0))
    found = load_native_slices(["a.nii.gz"], tmp_path, MAGNITUDE).slices
    assert [(tuple(s.image.shape), s.pixel_mm) for s in found] == [((12, 16), 1.0)] * 2
    volume(tmp_path / "b.nii.gz", slices_of(2).astype(np.int16), (0.5, 1.0))
    with pytest.raises(MedscoreError, match="not square"):
        load_native_slices(["b.nii.gz"], tmp_path, MAGNITUDE)


@pytest.mark.parametrize(("value", "words"), [(-3, "lowest value is -3"), (np.nan, "NaN")])
def test_values_that_no_magnitude_has_are_refused(tmp_path: Path, value: float, words: str) -> None:
    values = slices_of(2).astype(np.float32)
    values[0, 0, 0] = value
    magnitudes(tmp_path / "a.npz", values)
    with pytest.raises(MedscoreError, match=words) as refused:
        load_native_slices(["a.npz"], tmp_path, MAGNITUDE)
    assert "a.npz" in str(refused.value)

"""CT slices at their own matrix and pixel size, from archives and NIfTI volumes."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from medscore.datasets.collections.native_slices import load_native_slices
from medscore.errors import MedscoreError

LIMITS = (-1000.0, 1500.0)


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

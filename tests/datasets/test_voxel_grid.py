"""Voxel grids of no possible size or place are refused, from whatever file they are."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medscore.datasets.load import read_volume
from medscore.datasets.voxel_grid import check_grid
from medscore.errors import MedscoreError


def _affine(column: float = 1.0, row: float = 1.0, slice_: float = 1.0) -> np.ndarray:
    return np.diag([column, row, slice_, 1.0])


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("value", [0.0, 1e-300, 1e-6, 1e6])
def test_a_spacing_of_no_possible_size_is_refused(axis: int, value: float) -> None:
    spacing = [1.0, 1.0, 1.0]
    spacing[axis] = value
    with pytest.raises(MedscoreError, match="voxels are"):
        check_grid(_affine(*spacing))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e8])
def test_a_position_of_no_possible_place_is_refused(value: float) -> None:
    affine = _affine()
    affine[0, 3] = value
    with pytest.raises(MedscoreError, match="affine"):
        check_grid(affine)


def test_parallel_axes_are_refused() -> None:
    affine = _affine()
    affine[:3, 1] = affine[:3, 0]
    with pytest.raises(MedscoreError, match="span"):
        check_grid(affine)


@pytest.mark.parametrize("spacing", [1e-4, 0.05, 300.0])
def test_spacings_from_microscopes_to_phantoms_are_accepted(spacing: float) -> None:
    check_grid(_affine(spacing, spacing, spacing))


def test_the_error_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "tiny.nii"
    values = np.arange(64, dtype=np.float32).reshape(4, 4, 4)
    nib.save(nib.Nifti1Image(values, _affine(1e-7, 1e-7, 1.0)), path)
    with pytest.raises(MedscoreError, match=r"tiny\.nii.*voxels are 1e-07"):
        read_volume(path)

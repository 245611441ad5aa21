"""Random stacks of CT volumes: where they are from, and volumes that are refused."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from medscore.datasets.collections.stacks import Stacks, Volume3D, load_volumes
from medscore.errors import MedscoreError


def save(path: Path, shape: tuple[int, int, int] = (6, 9, 12), zoom: float = 1.0) -> Path:
    """A volume of (slices, rows, columns) whose HU rise by 10 from slice to slice, from -1000."""
    values = np.broadcast_to(10.0 * np.arange(shape[0])[:, None, None] - 1000, shape)
    affine = np.diag([-0.8 * zoom, -0.8, 2.0, 1.0])
    nib.save(nib.Nifti1Image(values.astype(np.int16).T, affine), path)
    return path


def volume(slices: int, slice_mm: float, value: float = 0.0, pixel_mm: float = 2.0) -> Volume3D:
    """Slices whose pixels are 100 times the number of the slice, plus row + column / 100."""
    number = torch.arange(slices)[:, None, None] + value
    rows, columns = torch.arange(8)[:, None], torch.arange(8)
    return Volume3D((0.01 * number + rows + columns / 100).float(), slice_mm, pixel_mm, "p")


def test_volumes_are_mapped_from_the_limits_and_clipped(tmp_path: Path) -> None:
    save(tmp_path / "a.nii.gz")
    (found,) = load_volumes(["*.nii.gz"], tmp_path, limits=(-990.0, -970.0), least=4)
    assert found.slices.shape == (6, 9, 12)
    assert found.slices.mean((1, 2)).tolist() == [0, 0, 0.5, 1, 1, 1]
    assert (found.slice_mm, round(found.pixel_mm, 3)) == (2.0, 0.8)


@pytest.mark.parametrize(
    ("zoom", "least", "why"), [(1.1, 4, "are not square"), (1.0, 7, "has 6 slices, and stacks")]
)
def test_volumes_that_cannot_be_used_are_refused(
    zoom: float, least: int, why: str, tmp_path: Path
) -> None:
    save(tmp_path / "a.nii.gz", zoom=zoom)
    with pytest.raises(MedscoreError, match=why) as caught:
        load_volumes(["*.nii.gz"], tmp_path, limits=(0.0, 1.0), least=least)
    assert "a.nii.gz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_stacks_are_neighbouring_slices_mirrored_along_every_axis() -> None:
    stacks = Stacks([volume(6, 2.5)], slices=3, size=4, pixel_mm=3.0)
    found = stacks.batch(64, torch.Generator().manual_seed(0), slice(None))
    assert found.shape == (64, 5, 4, 4)
    assert found[:, 3].unique().tolist() == [2.5]
    assert found[:, 4].unique().tolist() == [2.0]
    directions = set()
    for stack in found[:, :3]:
        apart = stack.diff(dim=0)  # 0.01 from slice to slice, everywhere and in one direction
        assert torch.allclose(apart, apart[0, 0, 0].expand_as(apart), atol=1e-5)
        steps = stack.diff(dim=0), stack.diff(dim=1), stack.diff(dim=2)
        assert [round(abs(float(s[0, 0, 0])), 3) for s in steps] == [0.01, 1.0, 0.01]
        directions.add(tuple(bool(s[0, 0, 0] > 0) for s in steps))
    assert len(directions) == 8


def test_half_of_the_stacks_have_larger_pixels_where_these_are_known() -> None:
    stacks = Stacks([volume(4, 2.5, pixel_mm=1.0)], slices=2, size=4, pixel_mm=2.0)
    found = stacks.batch(64, torch.Generator().manual_seed(0), slice(None))
    pixels = found[:, 3, 0, 0]
    assert set(pixels.tolist()) == {1.0, 2.0}
    assert 16 < int((pixels == 2).sum()) < 48  # a fair coin is outside once in 16,000 times
    rows = found[:, 0].diff(dim=1).abs().mean((1, 2))
    torch.testing.assert_close(rows, pixels)  # means of two rows each are two apart


def test_thin_slices_are_drawn_in_proportion_to_the_reciprocal_of_their_distance() -> None:
    stacks = Stacks([volume(3, 1.0), volume(3, 4.0)], slices=3, size=4, pixel_mm=3.0)
    found = stacks.batch(400, torch.Generator().manual_seed(0), slice(None))
    thin = int((found[:, 3, 0, 0] == 1).sum())
    assert abs(thin - 320) < 40  # five standard deviations: once in a million times


def test_smaller_slices_are_continued_by_air() -> None:
    found = Stacks([volume(3, 1.0, value=100)], slices=2, size=12, pixel_mm=3.0).batch(
        1, torch.Generator().manual_seed(0), slice(None)
    )
    assert int((found[0, 0] == 0).sum()) == 12 * 12 - 8 * 8


def test_a_part_of_a_batch_is_that_of_the_whole() -> None:
    stacks = Stacks([volume(6, 2.0), volume(5, 1.0)], slices=3, size=4, pixel_mm=9.0)
    whole = stacks.batch(5, torch.Generator().manual_seed(1), slice(None))
    part = stacks.batch(5, torch.Generator().manual_seed(1), slice(2, 4))
    assert torch.equal(part, whole[2:4])

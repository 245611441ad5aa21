"""Training slices: on one grid, and augmented the same way by the same generator."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from medscore.datasets.slices import Slices, augment, load_slices

Refused = Callable[..., str]
Arrays = dict[str, NDArray[np.generic]]


def _load(root: Path, *patterns: str, side: int = 4) -> Slices:
    return load_slices(patterns, root=root, side=side, low=-1000.0, high=1500.0)


def _load_one(path: Path) -> Slices:
    return _load(path.parent, path.name)


def _hu(n: int = 3, side: int = 8) -> NDArray[np.int16]:
    return np.random.default_rng(side).integers(-1000, 1500, (n, side, side)).astype(np.int16)


def _nifti(path: Path, hu: NDArray[np.generic], spacing: float = 0.7) -> Path:
    """Slices as displayed, stored with x to the right and y to the front."""
    affine = np.diag([spacing, spacing, 5.0, 1.0])
    nib.save(nib.Nifti1Image(hu[:, ::-1].transpose(2, 1, 0).copy(), affine), path)
    return path


def _archive(n: int = 3) -> Arrays:
    return {
        "hu": _hu(n),
        "pixel_spacing_mm": np.linspace(0.6, 0.8, n),
        "patient": np.array([f"p{i // 2}" for i in range(n)]),
    }


def _npz(path: Path, arrays: Arrays) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def _expected(hu: NDArray[np.int16]) -> NDArray[np.float64]:
    blocks = ((hu + 1000.0) / 2500).reshape(len(hu), 4, 2, 4, 2)
    return np.asarray(blocks.mean(axis=(2, 4)))


@pytest.mark.parametrize("name", ["p1.nii.gz", "p1.nii"])
def test_nifti_slices_are_block_means_in_the_networks_range(tmp_path: Path, name: str) -> None:
    found = _load_one(_nifti(tmp_path / name, _hu()))
    np.testing.assert_allclose(found.images, _expected(_hu()), atol=1e-3)
    np.testing.assert_allclose(found.spacing_mm, 1.4, rtol=1e-6)
    assert found.patients == ("p1", "p1", "p1")


def test_archived_slices_keep_their_spacing_and_patient(tmp_path: Path) -> None:
    found = _load_one(_npz(tmp_path / "a.npz", _archive()))
    np.testing.assert_allclose(found.images, _expected(_hu()), atol=1e-3)
    np.testing.assert_allclose(found.spacing_mm, (1.2, 1.4, 1.6))
    assert found.patients == ("p0", "p0", "p1")


def test_values_outside_the_range_are_clipped(tmp_path: Path) -> None:
    wide = np.where(_hu() > 0, 9000, -9000).astype(np.int16)
    images = _load(_nifti(tmp_path / "w.nii", wide).parent, "w.nii", side=8).images
    assert set(images.unique().tolist()) == {0.0, 1.0}


def test_files_of_all_patterns_are_joined_in_order(tmp_path: Path) -> None:
    for name in ("b", "a"):
        _nifti(tmp_path / f"{name}.nii", _hu(1))
    _npz(tmp_path / "z.npz", _archive(1))
    assert _load(tmp_path, "*.npz", "*.nii").patients == ("p0", "a", "b")


def test_slices_without_content_are_left_out(tmp_path: Path) -> None:
    hu = _hu()
    hu[1] = -1000
    assert len(_load_one(_nifti(tmp_path / "p.nii", hu)).images) == 2


def test_byte_order_does_not_matter(tmp_path: Path) -> None:
    swapped = _archive() | {"hu": _hu().astype(">i2")}
    found = _load_one(_npz(tmp_path / "a.npz", swapped))
    np.testing.assert_allclose(found.images, _expected(_hu()), atol=1e-3)


@pytest.mark.parametrize(
    "change",
    [
        {"hu": _hu()[0]},
        {"hu": np.where(_hu() > 0, np.nan, _hu())},
        {"patient": np.array(["p"])},
        {"pixel_spacing_mm": np.ones(2)},
        {"pixel_spacing_mm": np.array(0.7)},
        {"patient": np.array([{}, {}, {}], dtype=object)},
    ],
    ids=["2-D", "NaN", "patients", "spacings", "one spacing", "pickle"],
)
def test_refuses_an_archive_with_wrong(tmp_path: Path, refused: Refused, change: Arrays) -> None:
    path = _npz(tmp_path / "a.npz", _archive() | change)
    assert "cannot be read as slices" in refused(_load_one, path)


@pytest.mark.parametrize("key", ["hu", "pixel_spacing_mm", "patient"])
def test_refuses_an_archive_without(tmp_path: Path, refused: Refused, key: str) -> None:
    arrays = {k: v for k, v in _archive().items() if k != key}
    assert key in refused(_load_one, _npz(tmp_path / "a.npz", arrays))


@pytest.mark.parametrize("name", ["a.npz", "a.nii", "a.nii.gz"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.95])
def test_refuses_a_file_cut_short(tmp_path: Path, refused: Refused, name: str, kept: float) -> None:
    path = tmp_path / name
    _npz(path, _archive()) if name == "a.npz" else _nifti(path, _hu())
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    assert "cannot be read as slices" in refused(_load_one, path)


@pytest.mark.parametrize("shape", [(2, 8, 12), (2, 10, 10), (2, 2, 2)])
def test_refuses_slices_that_do_not_reduce(
    tmp_path: Path, refused: Refused, shape: tuple[int, ...]
) -> None:
    path = _nifti(tmp_path / "p.nii", np.arange(np.prod(shape)).reshape(shape).astype(np.int16))
    assert "do not reduce to 4x4" in refused(_load_one, path)


def test_refuses_a_pattern_that_matches_nothing(tmp_path: Path, refused: Refused) -> None:
    assert "no file matches '*.nii'" in refused(lambda root: _load(root, "*.nii"), tmp_path)


def test_refuses_data_without_content(tmp_path: Path, refused: Refused) -> None:
    _nifti(tmp_path / "air.nii", np.full((3, 8, 8), -1000, np.int16))
    assert "no slice has content" in refused(lambda root: _load(root, "*.nii"), tmp_path)


def _images(n: int = 32) -> torch.Tensor:
    return torch.rand(n, 1, 16, 16, generator=torch.Generator().manual_seed(1))


def _augment(seed: int, zoom: tuple[float, float]) -> torch.Tensor:
    return augment(_images(), torch.Generator().manual_seed(seed), zoom=zoom)


def test_the_same_generator_augments_the_same_way() -> None:
    assert torch.equal(_augment(3, (0.9, 1.6)), _augment(3, (0.9, 1.6)))


def test_another_generator_augments_another_way() -> None:
    assert not torch.equal(_augment(3, (0.9, 1.6)), _augment(4, (0.9, 1.6)))


def test_augmented_images_have_half_the_side_and_stay_in_range() -> None:
    images = _augment(3, (0.9, 1.6))
    assert images.shape == (32, 1, 8, 8)
    assert 0 <= images.min() <= images.max() <= 1 + 1e-6


def test_unmoved_images_are_the_block_mean_or_its_mirror() -> None:
    found, mean = _augment(3, (1.0, 1.0)), functional.avg_pool2d(_images(), 2)
    same = (found - mean).abs().amax((1, 2, 3)) < 1e-5
    mirrored = (found - mean.flip(-1)).abs().amax((1, 2, 3)) < 1e-5
    _, moved, *_ = torch.rand(6, 32, generator=torch.Generator().manual_seed(3))
    assert torch.equal(same | mirrored, moved >= 0.5)
    assert min(same.sum(), mirrored.sum()) > 0


def test_zoom_magnifies() -> None:
    disc = torch.zeros(64, 1, 32, 32)
    disc[..., 10:22, 10:22] = 1
    areas = augment(disc, torch.Generator().manual_seed(0), zoom=(1.5, 1.5)).sum((1, 2, 3))
    moved = areas[(areas - 36).abs() > 1]
    assert 0.3 < len(moved) / 64 < 0.7
    assert moved.median() == pytest.approx(36 * 1.5**2, rel=0.1)

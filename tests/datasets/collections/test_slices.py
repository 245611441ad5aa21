"""Training slices: CT and MR, on one grid, in the network's range."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from medscore.datasets.collections.slice_cache import Slices
from medscore.datasets.collections.slices import Quantity, load_slices

Refused = Callable[..., str]
Arrays = dict[str, NDArray[np.generic]]


def _load(root: Path, *patterns: str, side: int = 4, quantity: Quantity = "HU") -> Slices:
    low, high = (-1000.0, 1500.0) if quantity == "HU" else (0.0, 1.0)
    return load_slices(patterns, root=root, side=side, low=low, high=high, quantity=quantity)


def _load_one(path: Path) -> Slices:
    return _load(path.parent, path.name)


def _hu(n: int = 3, side: int = 8) -> NDArray[np.int16]:
    return np.random.default_rng(side).integers(-1000, 1500, (n, side, side)).astype(np.int16)


def _nifti(path: Path, hu: NDArray[np.generic], spacing: float = 0.7) -> Path:
    """Slices as displayed: columns to the patient's left, rows to the back."""
    affine = np.diag([-spacing, -spacing, 5.0, 1.0])
    nib.save(nib.Nifti1Image(hu.transpose(2, 1, 0).copy(), affine), path)
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
    for name, slices in (("b", _hu(2)[1:]), ("a", _hu(1))):  # equal files would be one patient
        _nifti(tmp_path / f"{name}.nii", slices)
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


@pytest.mark.parametrize(("key", "named"), [("hu", "image"), ("patient", "patient")])
def test_refuses_an_archive_without(tmp_path: Path, refused: Refused, key: str, named: str) -> None:
    arrays = {k: v for k, v in _archive().items() if k != key}
    assert named in refused(_load_one, _npz(tmp_path / "a.npz", arrays))


def test_an_archive_may_not_know_its_spacing(tmp_path: Path) -> None:
    arrays = {k: v for k, v in _archive().items() if k != "pixel_spacing_mm"}
    assert np.isnan(_load_one(_npz(tmp_path / "a.npz", arrays)).spacing_mm).all()


@pytest.mark.parametrize("name", ["a.npz", "a.nii", "a.nii.gz"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.95])
def test_refuses_a_file_cut_short(tmp_path: Path, refused: Refused, name: str, kept: float) -> None:
    path = tmp_path / name
    _npz(path, _archive()) if name == "a.npz" else _nifti(path, _hu())
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    assert "cannot be read as" in refused(_load_one, path)


def test_refuses_slices_that_are_far_too_small(tmp_path: Path, refused: Refused) -> None:
    path = _nifti(tmp_path / "p.nii", np.arange(-1000, -998).reshape(2, 1, 1).astype(np.int16))
    assert "slices of 1x1 do not reduce to 4x4" in refused(_load_one, path)


@pytest.mark.parametrize("shape", [(2, 8, 6), (2, 5, 7), (2, 4, 8)])
def test_slices_are_padded_with_air_to_a_square(tmp_path: Path, shape: tuple[int, ...]) -> None:
    hu = np.random.default_rng(0).integers(500, 1500, shape).astype(np.int16)
    hu[:, 0, 0] = -1000
    found = _load(_nifti(tmp_path / "p.nii", hu).parent, "p.nii", side=8)
    top, left = (8 - shape[1]) // 2, (8 - shape[2]) // 2
    inner = found.images[:, top : top + shape[1], left : left + shape[2]]
    np.testing.assert_allclose(inner, (hu + 1000) / 2500, atol=1e-3)
    assert float(found.images.sum() - inner.sum()) == 0


def test_pixels_that_are_not_square_are_made_so(tmp_path: Path) -> None:
    """A disc stored as an ellipse, in pixels twice as long as wide, is resampled to a circle."""
    y, x = np.mgrid[-7.5:8, -15.5:16]
    disc = np.where(np.hypot(2 * y, x) < 12, 1000, -1000).astype(np.int16)[None]
    affine = np.diag([-1.0, -2.0, 5.0, 1.0])
    nib.save(nib.Nifti1Image(disc.transpose(2, 1, 0).copy(), affine), tmp_path / "p.nii")
    found = _load(tmp_path, "p.nii", side=32)
    image = found.images[0].float()
    assert found.spacing_mm.tolist() == [1.0]
    assert float((image - image.T).abs().mean()) < 0.03
    assert float(image.sum()) * 2500 / 2000 == pytest.approx(np.pi * 12**2, rel=0.03)


def _magnitudes(n: int = 3) -> Arrays:
    images = np.random.default_rng(1).random((n, 8, 8)).astype(np.float32)
    scale = np.linspace(100, 300, n, dtype=np.float32)
    return {"image": images * scale[:, None, None], "patient": np.array(["p"] * n)}


def test_magnitudes_are_in_units_of_their_own_quantile(tmp_path: Path) -> None:
    path = _npz(tmp_path / "a.npz", _magnitudes())
    found = _load(path.parent, path.name, side=8, quantity="magnitude").images.float()
    quantiles = np.quantile(found.numpy().reshape(3, -1), 0.995, axis=1)
    np.testing.assert_allclose(quantiles, 1, atol=2e-3)
    assert float(found.max()) > 1  # larger values are not clipped


def test_a_faint_slice_of_a_patient_is_left_out(tmp_path: Path) -> None:
    arrays = _magnitudes()
    arrays["image"][1] *= 0.1
    path = _npz(tmp_path / "a.npz", arrays)
    assert len(_load(path.parent, path.name, quantity="magnitude").images) == 2
    arrays["patient"] = np.array(["p", "q", "p"])  # another patient's own range
    path = _npz(tmp_path / "a.npz", arrays)
    assert len(_load(path.parent, path.name, quantity="magnitude").images) == 3


def test_negative_magnitudes_are_refused(tmp_path: Path, refused: Refused) -> None:
    path = _nifti(tmp_path / "ct.nii", _hu())
    said = refused(lambda p: _load(p.parent, p.name, quantity="magnitude"), path)
    assert "magnitudes are not negative" in said


def test_refuses_a_pattern_that_matches_nothing(tmp_path: Path, refused: Refused) -> None:
    assert "no file matches '*.nii'" in refused(lambda root: _load(root, "*.nii"), tmp_path)


def test_refuses_data_without_content(tmp_path: Path, refused: Refused) -> None:
    _nifti(tmp_path / "air.nii", np.int16(-1000 + np.eye(8))[None].repeat(3, 0))
    assert "no slice has content" in refused(lambda root: _load(root, "*.nii"), tmp_path)

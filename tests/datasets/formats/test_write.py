"""Every format in and out: a marked voxel stays at its place in mm, by independent readers."""

import itertools
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from medscore.datasets.dicom.write import write_dicom_series
from medscore.datasets.formats.write import OUTPUTS, write_image
from medscore.datasets.load import read_volume
from medscore.datasets.volume import Source
from medscore.errors import MedscoreError

RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Between ITK's coordinates and nibabel's."""

INPUTS = (".nii.gz", ".nrrd", ".mha", ".npz", "dicom")
"""Formats that state the geometry, one of each reader."""

GEOMETRY = {
    "turn": st.tuples(*[st.floats(-180, 180)] * 3),
    "tilt": st.floats(-0.3, 0.3),
    "flip": st.sampled_from([-1.0, 1.0]),
    "spacing": st.tuples(*[st.floats(0.2, 8)] * 3),
    "origin": st.tuples(*[st.floats(-300, 300)] * 3),
    "shape": st.tuples(*[st.integers(2, 6)] * 3),
}


def affine_of(
    turn: tuple[float, ...], tilt: float, flip: float, spacing: tuple[float, ...],
    origin: tuple[float, ...],
) -> NDArray[np.float64]:  # fmt: skip
    """An oblique map from (column, row, slice) to RAS mm, sheared by a gantry tilt, perhaps
    left-handed."""
    affine = np.eye(4)
    across = np.array([[1, 0, 0], [0, 1, tilt], [0, 0, 1.0]])
    direction = Rotation.from_euler("xyz", turn, degrees=True).as_matrix() @ across
    affine[:3, :3] = direction * np.multiply(spacing, (1, 1, flip))
    affine[:3, 3] = origin
    return affine


def marked(shape: tuple[int, ...], seed: int = 0) -> tuple[NDArray[np.float32], tuple[int, ...]]:
    """Slices with one voxel that is brighter than all others, and its (column, row, slice)."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0, 100, shape).astype(np.float32)
    place = tuple(int(rng.integers(n)) for n in shape)
    values[place] = 500
    return values, place[::-1]


def found_by_itk(path: Path) -> NDArray[np.float64]:
    """Place in RAS mm of the brightest voxel, by SimpleITK."""
    image = SimpleITK.ReadImage(str(path))
    values = SimpleITK.GetArrayFromImage(image)
    place = np.unravel_index(int(values.argmax()), values.shape)
    lps = image.TransformIndexToPhysicalPoint([int(i) for i in place[::-1]])
    return np.asarray(RAS[:3, :3] @ lps)


def found_by_nibabel(path: Path) -> NDArray[np.float64]:
    """Place in RAS mm of the brightest voxel, by nibabel."""
    image: Any = nib.load(path)
    values = np.asarray(image.dataobj)
    place = np.unravel_index(int(values.argmax()), values.shape)
    return np.asarray(nib.affines.apply_affine(image.affine, place))


def found_by_us(path: Path) -> NDArray[np.float64]:
    """Place in RAS mm of the brightest voxel, by our readers."""
    volume = read_volume(path)
    slice_, row, column = np.unravel_index(int(volume.values.argmax()), volume.values.shape)
    return np.asarray((volume.affine @ (column, row, slice_, 1))[:3])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("formats")


@settings(max_examples=12, deadline=None)
@given(**GEOMETRY)
def test_a_marked_voxel_stays_at_its_place_in_mm(
    folder: Path, turn: Any, tilt: float, flip: float, spacing: Any, origin: Any, shape: Any
) -> None:
    """Written by us, read by SimpleITK, nibabel and us; NIfTI holds single precision."""
    affine = affine_of(turn, tilt, flip, spacing, origin)
    values, place = marked(shape)
    truth = (affine @ (*place, 1))[:3]
    for ending, atol in ((".nrrd", 1e-6), (".mha", 1e-6), (".npz", 1e-6), (".nii", 2e-4)):
        write_image(folder / f"a{ending}", values, affine)
        np.testing.assert_allclose(found_by_us(folder / f"a{ending}"), truth, atol=atol)
    for ending in (".nrrd", ".mha"):
        np.testing.assert_allclose(found_by_itk(folder / f"a{ending}"), truth, atol=1e-6)
    np.testing.assert_allclose(found_by_nibabel(folder / "a.nii"), truth, atol=2e-4)


def written(path: Path, values: NDArray[np.float32], affine: NDArray[np.float64]) -> Path:
    """An image in a format that is read."""
    if path.name.endswith("dicom"):
        path.mkdir()
        write_dicom_series(
            path, values, affine, Source("dicom", "ab"), modality="MR", description="x", version="0"
        )
    else:
        write_image(path, values, affine, "MR")
    return path


@pytest.mark.parametrize(("one", "other"), list(itertools.product(INPUTS, OUTPUTS)))
def test_what_is_read_in_one_format_is_written_in_another(
    one: str, other: str, tmp_path: Path
) -> None:
    affine = affine_of((170, 10, 20), 0.0, 1.0, (0.7, 0.9, 2.5), (-90.123456, 45.6, 123.4567))
    values, place = marked((4, 6, 5))
    volume = read_volume(written(tmp_path / f"in{one}", values, affine))
    write_image(tmp_path / f"out{other}", volume.values, volume.affine, volume.modality)
    truth = (affine @ (*place, 1))[:3]
    if other == ".npy":
        found = np.load(tmp_path / "out.npy")
        np.testing.assert_array_equal(found, volume.values)
        return
    again = read_volume(tmp_path / f"out{other}")
    np.testing.assert_allclose(found_by_us(tmp_path / f"out{other}"), truth, atol=1e-4)
    np.testing.assert_allclose(np.sort(again.values.ravel()), np.sort(volume.values.ravel()))
    if other.startswith(".nii"):
        np.testing.assert_allclose(found_by_nibabel(tmp_path / f"out{other}"), truth, atol=1e-4)
    if other != ".npz":
        np.testing.assert_allclose(found_by_itk(tmp_path / f"out{other}"), truth, atol=1e-4)


@pytest.mark.parametrize("ending", OUTPUTS)
def test_equal_content_gives_equal_bytes_and_leaves_nothing_else(
    ending: str, tmp_path: Path
) -> None:
    values, _ = marked((3, 5, 4))
    for name in ("a", "b"):
        write_image(tmp_path / f"{name}{ending}", values, np.eye(4))
    one, two = (tmp_path / f"{name}{ending}" for name in ("a", "b"))
    assert one.read_bytes() == two.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [one.name, two.name]


@pytest.mark.parametrize("ending", OUTPUTS)
def test_a_file_that_cannot_be_written_leaves_nothing(ending: str, tmp_path: Path) -> None:
    with pytest.raises(MedscoreError, match="cannot be written"):
        write_image(tmp_path / "missing" / f"a{ending}", marked((2, 3, 4))[0], np.eye(4))
    (tmp_path / f"a{ending}").mkdir()
    with pytest.raises(MedscoreError, match="cannot be written"):
        write_image(tmp_path / f"a{ending}", marked((2, 3, 4))[0], np.eye(4))
    assert [path.name for path in tmp_path.iterdir()] == [f"a{ending}"]


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MedscoreError, match=r"`image` is 'a\.tif' - use a name that ends with"):
        write_image(tmp_path / "a.tif", marked((2, 3, 4))[0], np.eye(4))


@pytest.mark.parametrize(("modality", "name"), [("CT", "hu"), ("MR", "image")])
def test_an_archive_states_the_modality(modality: str, name: str, tmp_path: Path) -> None:
    values, _ = marked((2, 3, 9))
    write_image(tmp_path / "a.npz", values, np.diag([-1.0, -1, 2, 1]), modality)
    with np.load(tmp_path / "a.npz") as archive:
        assert set(archive) == {name, "affine", "spacing", "modality"}
        np.testing.assert_array_equal(archive["spacing"], (1, 1, 2))
    assert read_volume(tmp_path / "a.npz").modality == modality


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
@pytest.mark.parametrize("axes", ["RAS", "LPS", "PSR", "SAL", "IRP"])
def test_outputs_have_the_axes_of_the_file(tmp_path: Path, name: str, axes: str) -> None:
    """What was read is written with the matrix, the order of voxels and the affine of its file."""
    values = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
    turn = Rotation.from_euler("xyz", (8, -5, 11), degrees=True).as_matrix()
    display = np.eye(4)
    display[:3, :3] = turn @ np.diag([-1.5, -2.0, 3.0])
    display[:3, 3] = 11.25, -40.5, 7.0
    write_image(tmp_path / name, values, display, axes=axes)
    first = read_volume(tmp_path / name)
    assert first.source.axes == axes
    np.testing.assert_array_equal(first.values, values)
    np.testing.assert_allclose(first.affine, display, atol=1e-4)
    again = tmp_path / f"again-{name}"
    write_image(again, first.values, first.affine, axes=first.source.axes)
    if name.endswith(".gz"):
        ours, theirs = (nib.load(path) for path in (again, tmp_path / name))
        assert nib.aff2axcodes(theirs.affine) == tuple(axes)
        np.testing.assert_array_equal(np.asarray(ours.dataobj), np.asarray(theirs.dataobj))
        np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-5)
    else:
        one, other = (SimpleITK.ReadImage(str(path)) for path in (again, tmp_path / name))
        assert one.GetSize() == other.GetSize()
        np.testing.assert_allclose(one.GetOrigin(), other.GetOrigin(), atol=1e-6)
        np.testing.assert_allclose(one.GetDirection(), other.GetDirection(), atol=1e-9)
        np.testing.assert_array_equal(*(SimpleITK.GetArrayFromImage(i) for i in (one, other)))

"""Reading and writing NIfTI: the same image in world space for any storage order of the axes."""

import gzip
import itertools
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from medscore.datasets.nifti import read_nifti, write_nifti

Refused = Callable[..., str]
AFFINE = np.array(
    [[-1.3, 0.1, 0, 90.123456], [0.1, -1.2, 0.3, -50.5], [0, 0.2, 2.7, 7.25], [0, 0, 0, 1]]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nifti")


@pytest.fixture
def values() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)


def _save(path: Path, data: NDArray[np.generic], affine: NDArray[np.float64]) -> Path:
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


@settings(max_examples=60, deadline=None)
@given(
    axes=st.sampled_from(list(itertools.permutations(range(3)))),
    flips=st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
    spacing=st.tuples(*[st.floats(0.2, 8)] * 3),
    shape=st.tuples(*[st.integers(2, 5)] * 3),
    origin=st.tuples(*[st.floats(-300, 300)] * 3),
    tilt=st.floats(-0.4, 0.4),
)
def test_every_voxel_keeps_its_value_and_its_place_in_the_world(
    folder: Path,
    axes: tuple[int, ...],
    flips: tuple[float, ...],
    spacing: tuple[float, ...],
    shape: tuple[int, ...],
    origin: tuple[float, ...],
    tilt: float,
) -> None:
    affine = np.eye(4)
    turn = np.array([[np.cos(tilt), -np.sin(tilt), 0], [np.sin(tilt), np.cos(tilt), 0], [0, 0, 1]])
    affine[:3, :3] = turn @ np.eye(3)[:, list(axes)] @ np.diag(np.multiply(flips, spacing))
    affine[:3, 3] = origin
    data = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    volume = read_nifti(_save(folder / "any.nii", data, affine))
    stored = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, 3)
    world = stored @ affine[:3, :3].T + affine[:3, 3]
    found = (world - volume.affine[:3, 3]) @ np.linalg.inv(volume.affine[:3, :3]).T
    column, row, slice_ = np.rint(found).astype(int).T
    np.testing.assert_allclose(found, np.rint(found), atol=5e-3)
    np.testing.assert_array_equal(volume.values[slice_, row, column], data.ravel())


@pytest.mark.parametrize("flips", list(itertools.product([-1, 1], repeat=3)))
def test_columns_run_to_the_left_rows_to_the_back_slices_up(
    folder: Path, values: NDArray[np.float32], flips: tuple[int, ...]
) -> None:
    path = _save(folder / "flip.nii", values, np.diag([*np.multiply(flips, (1, 2, 3)), 1.0]))
    np.testing.assert_allclose(read_nifti(path).affine[:3, :3], np.diag([-1, -2, 3]), atol=1e-6)


def test_what_is_written_reads_back(folder: Path, values: NDArray[np.float32]) -> None:
    write_nifti(folder / "round.nii.gz", values, AFFINE)
    volume = read_nifti(folder / "round.nii.gz")
    np.testing.assert_array_equal(volume.values, values)
    np.testing.assert_allclose(volume.affine, AFFINE, rtol=1e-6, atol=1e-6)


def test_both_affines_of_the_header_are_set(folder: Path, values: NDArray[np.float32]) -> None:
    write_nifti(folder / "both.nii.gz", values, np.diag([-2.0, -2, 3, 1]))
    header = nib.load(folder / "both.nii.gz").header
    np.testing.assert_allclose(header.get_qform(), header.get_sform(), atol=1e-6)
    assert header.get_xyzt_units()[0] == "mm"


def test_equal_content_gives_equal_bytes(folder: Path, values: NDArray[np.float32]) -> None:
    for name in ("one.nii.gz", "two.nii.gz"):
        write_nifti(folder / name, values, AFFINE)
    assert (folder / "one.nii.gz").read_bytes() == (folder / "two.nii.gz").read_bytes()


def test_slope_and_intercept_are_applied(folder: Path) -> None:
    image = nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.diag([-1, -1, 1, 1]))
    image.header.set_slope_inter(2.5, -1000)
    nib.save(image, folder / "slope.nii")
    raw = bytearray((folder / "slope.nii").read_bytes())
    raw[112:120] = np.array([2.5, -1000], dtype=np.float32).tobytes()
    raw[352:] = np.arange(24, dtype=np.int16).reshape(2, 3, 4).tobytes(order="F")
    (folder / "slope.nii").write_bytes(raw)
    expected = np.arange(24).reshape(2, 3, 4).transpose(2, 1, 0) * 2.5 - 1000
    np.testing.assert_allclose(read_nifti(folder / "slope.nii").values, expected)


def test_one_slice_may_be_stored_in_two_dimensions(folder: Path) -> None:
    path = _save(folder / "flat.nii", np.arange(12.0).reshape(3, 4), np.diag([-1, -1, 1, 1]))
    assert read_nifti(path).values.shape == (1, 4, 3)


@pytest.mark.parametrize("channel", [0, 2])
def test_one_volume_of_several_is_chosen(folder: Path, channel: int) -> None:
    data = np.random.default_rng(0).normal(size=(3, 5, 4, 3)).astype(np.float32)
    found = read_nifti(_save(folder / "four.nii.gz", data, AFFINE), channel=channel)
    alone = read_nifti(_save(folder / "alone.nii.gz", data[..., channel], AFFINE))
    np.testing.assert_array_equal(found.values, alone.values)
    np.testing.assert_array_equal(found.affine, alone.affine)


@pytest.mark.parametrize(
    ("shape", "channel"), [((2, 3, 4, 3), 3), ((2, 3, 4, 3), -1), ((2, 3, 4), 1), ((2, 3, 4), 0)]
)
def test_a_volume_that_is_not_there_is_refused(
    folder: Path, refused: Refused, shape: tuple[int, ...], channel: int
) -> None:
    path = _save(folder / "few.nii", np.arange(float(np.prod(shape))).reshape(shape), AFFINE)
    assert f"`channel` is {channel}" in refused(read_nifti, path, channel=channel)


def test_a_header_that_nibabel_corrects_is_read_without_messages(
    folder: Path, values: NDArray[np.float32], capfd: pytest.CaptureFixture[str]
) -> None:
    path = _save(folder / "sloppy.nii", values, AFFINE)
    raw = bytearray(path.read_bytes())
    raw[0:4] = np.int32(349).tobytes()
    path.write_bytes(raw)
    np.testing.assert_allclose(read_nifti(path).values.shape, (4, 5, 3))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.1, 0.5, 0.9, 0.99])
def test_refuses_a_file_cut_short(
    folder: Path, refused: Refused, values: NDArray[np.float32], suffix: str, kept: float
) -> None:
    path = _save(folder / f"cut{suffix}", values, AFFINE)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    assert "cannot be read as NIfTI" in refused(read_nifti, path)


@pytest.mark.parametrize(
    "content",
    [b"", b"no image" * 100, gzip.compress(b"no image" * 100, mtime=0)],
    ids=["empty", "text", "gzip"],
)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_refuses_what_is_not_nifti(
    folder: Path, refused: Refused, content: bytes, suffix: str
) -> None:
    path = folder / f"other{suffix}"
    path.write_bytes(content)
    assert "cannot be read as NIfTI" in refused(read_nifti, path)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (np.arange(48.0).reshape(2, 3, 4, 2), "3-D volume"),
        (np.array([1.0, 2.0, np.nan, 4.0] * 6).reshape(2, 3, 4), "NaN"),
        (np.array([1.0, 2.0, np.inf, 4.0] * 6).reshape(2, 3, 4), "NaN or infinite"),
        (np.full((2, 3, 4), -1000.0), "constant"),
        (np.arange(24).reshape(2, 3, 4).astype(np.complex64), "real number"),
        (np.zeros((2, 3, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]), "real number"),
    ],
    ids=["4-D", "NaN", "infinity", "constant", "complex", "colour"],
)
def test_refuses(folder: Path, refused: Refused, data: NDArray[np.generic], why: str) -> None:
    assert why in refused(read_nifti, _save(folder / "bad.nii", data, np.eye(4)))


def test_refuses_voxels_without_extent(
    folder: Path, refused: Refused, values: NDArray[np.float32]
) -> None:
    path = _save(folder / "flat-affine.nii", values, np.eye(4))
    raw = bytearray(path.read_bytes())
    raw[280:328] = bytes(48)  # srow_x, srow_y, srow_z
    path.write_bytes(raw)
    assert refused(read_nifti, path)

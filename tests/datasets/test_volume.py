"""Volumes: reduction by area mean, selection, alignment, checks of modality and shape."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from medscore.datasets.fit import reduce
from medscore.datasets.fit_axis import axis
from medscore.datasets.load import load_image
from medscore.datasets.volume import (
    Source,
    Volume,
    align,
    check_modality,
    check_values,
    slice_range,
)

Refused = Callable[..., str]
HERE = Path("scan.nii")
AFFINE = np.array([[-0.8, 0, 0, 9], [0, -0.8, 0.2, -7], [0, 0, 3, 40], [0, 0, 0, 1.0]])


def _volume(n: int = 12, slices: int = 5, *, modality: str = "CT") -> Volume:
    values = np.random.default_rng(n).uniform(-1000, 1000, (slices, n, n)).astype(np.float32)
    values[:, 0, 0] = -1000
    names = tuple(f"1.2.{k}" for k in range(slices))
    return Volume(values, AFFINE, modality, Source("dicom", "00", instances=names))


def _world(volume: Volume, column: float, row: float, slice_: float = 0) -> NDArray[np.float64]:
    return np.asarray(volume.affine @ (column, row, slice_, 1))


@given(n=st.integers(1, 60), size=st.integers(1, 60))
def test_area_weights_average(n: int, size: int) -> None:
    weights = axis(n, 1.0, min(size, n), n / min(size, n)).down
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(axis=1), 1)


@given(n=st.integers(1, 60), size=st.integers(1, 60))
def test_area_weights_use_every_old_pixel_alike(n: int, size: int) -> None:
    size = min(size, n)
    np.testing.assert_allclose(axis(n, 1.0, size, n / size).down.sum(axis=0), size / n)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_whole_factors_give_the_block_mean(factor: int) -> None:
    volume = _volume()
    size = 12 // factor
    blocks = volume.values.reshape(5, size, factor, size, factor).mean(axis=(2, 4))
    np.testing.assert_allclose(reduce(volume, size, HERE).values, blocks, atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(2, 40), share=st.floats(0.05, 1))
def test_reduction_keeps_the_mean(n: int, share: float) -> None:
    volume = _volume(n, 2)
    reduced = reduce(volume, max(1, int(share * n)), HERE).values
    np.testing.assert_allclose(reduced.mean((1, 2)), volume.values.mean((1, 2)), atol=2e-3)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(2, 40), share=st.floats(0.05, 1))
def test_reduction_keeps_the_corners_of_the_field_of_view(n: int, share: float) -> None:
    volume, size = _volume(n, 2), max(1, int(share * n))
    reduced = reduce(volume, size, HERE)
    for old, new in ((-0.5, -0.5), ((n - 1) / 2, (size - 1) / 2), (n - 0.5, size - 0.5)):
        np.testing.assert_allclose(_world(reduced, new, new), _world(volume, old, old), atol=1e-9)


def test_reduction_keeps_the_slice_step() -> None:
    np.testing.assert_array_equal(reduce(_volume(), 5, HERE).affine[:, 2], AFFINE[:, 2])


def test_reduction_does_not_enlarge(refused: Refused) -> None:
    message = refused(lambda where: reduce(_volume(), 13, where), HERE)
    assert "`size` is 13, the slices are 12x12" in message


@pytest.mark.parametrize("slices", ["1:3", (1, 3)])
def test_a_range_of_slices_is_text_or_a_pair(slices: str | tuple[int, int]) -> None:
    assert slice_range(slices, 3) == (1, 3)


@pytest.mark.parametrize("slices", ["1:4", "2", "a:b", "1:2:3", (2, 1), (-1, 2)])
def test_a_range_beyond_the_slices_is_refused(
    refused: Refused, slices: str | tuple[int, int]
) -> None:
    assert "`slices` is" in refused(lambda where: slice_range(slices, 3, where), HERE)


def test_selection_moves_the_geometry_along() -> None:
    volume = _volume()
    part = volume.select(2, 4)
    np.testing.assert_array_equal(part.values, volume.values[2:4])
    np.testing.assert_allclose(_world(part, 1, 2, 0), _world(volume, 1, 2, 2))
    assert part.source.instances == ("1.2.2", "1.2.3")


def test_selection_leaves_the_original_alone() -> None:
    volume = _volume()
    volume.select(2, 4)
    np.testing.assert_array_equal(volume.affine, AFFINE)


@pytest.mark.parametrize(("start", "stop"), [(0, 5), (1, 3), (4, 5)])
def test_alignment_finds_the_slices_that_were_measured(start: int, stop: int) -> None:
    volume = _volume()
    part = volume.select(start, stop)
    found = align(volume, part.affine, len(part.values), HERE)
    np.testing.assert_array_equal(found.values, part.values)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a + _shift(0, 0.1),
        lambda a: a + _shift(1, -0.1),
        lambda a: a + _shift(2, 1.5),
        lambda a: a + _shift(2, 9.0),
        lambda a: a + _shift(2, -3.0),
        lambda a: a @ np.diag([1.01, 1.01, 1, 1]),
        lambda a: a @ np.diag([-1, 1, 1, 1]),
    ],
    ids=["columns", "rows", "half a slice", "beyond", "before", "spacing", "mirrored"],
)
def test_alignment_refuses_another_grid(
    refused: Refused, change: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> None:
    affine = change(AFFINE)
    message = refused(lambda where: align(_volume(), affine, 3, where), HERE)
    assert "grid of the measurement" in message


def _shift(axis: int, mm: float) -> NDArray[np.float64]:
    shift = np.zeros((4, 4))
    shift[axis, 3] = mm
    return shift


def test_ct_in_hounsfield_units_passes() -> None:
    assert check_modality(_volume(), "CT", HERE).modality == "CT"
    assert check_modality(_volume(modality="unknown"), "CT", HERE).modality == "CT"


@pytest.mark.parametrize(
    ("volume", "why"),
    [
        (_volume(modality="MR"), "MR"),
        (replace(_volume(), values=np.abs(_volume().values)), "Hounsfield"),
    ],
    ids=["MR", "not HU"],
)
def test_a_ct_task_refuses(refused: Refused, volume: Volume, why: str) -> None:
    def check(where: Path) -> None:
        check_modality(volume, "CT", where)

    assert why in refused(check, HERE)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.zeros((0, 4, 4)), "no pixels"),
        (np.array([1.0, np.nan]), "1 values are NaN"),
        (np.array([np.inf, -np.inf]), "2 values are NaN or infinite"),
        (np.full(3, 7.0), "constant (7)"),
    ],
)
def test_no_reconstruction_comes_from(
    refused: Refused, values: NDArray[np.float64], why: str
) -> None:
    assert why in refused(lambda where: check_values(values, where), HERE)


@pytest.mark.parametrize("name", ["missing.dcm", "text.txt", "empty", "folder"])
def test_what_is_not_an_image_is_refused(refused: Refused, tmp_path: Path, name: str) -> None:
    (tmp_path / "text.txt").write_text("not an image")
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    assert refused(load_image, tmp_path / name)


def test_dicom_is_known_by_content_not_name(bundled: Callable[[str], Path], tmp_path: Path) -> None:
    copy = tmp_path / "scan.nii"
    copy.write_bytes(bundled("CT_small.dcm").read_bytes())
    assert load_image(copy).source.kind == "dicom"

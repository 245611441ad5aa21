"""The fit to a square grid: positions, exact padding, area means, and what comes back."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import from_numpy
from torch.nn.functional import avg_pool2d

from medscore.datasets.fit import Fit, fit, fit_grid, fitted, square_pixels
from medscore.datasets.fit_axis import Axis, axis
from medscore.datasets.volume import Source, Volume

SIDES = st.integers(4, 48)
SPACINGS = st.floats(0.3, 5.0)
RANGE = (1.3, 2.6)


THREE = st.tuples(*[st.floats(-1, 1)] * 3)
SCANS = st.tuples(SIDES, SIDES, st.integers(1, 3), st.tuples(*[SPACINGS] * 3), THREE, THREE)
"""Rows, columns, slices, spacings, and the orientation and position in the scanner."""

Scan = tuple[int, int, int, tuple[float, ...], tuple[float, ...], tuple[float, ...]]


def made(scan: Scan) -> Volume:
    rows, columns, slices, spacing, turn, place = scan
    affine = np.eye(4)
    rotation = Rotation.from_euler("xyz", 90 * np.array(turn), degrees=True).as_matrix()
    affine[:3, :3] = rotation @ np.diag(spacing)
    affine[:3, 3] = 300 * np.array(place)
    values = np.random.default_rng(rows).normal(size=(slices, rows, columns)).astype(np.float32)
    return Volume(values, affine, "MR", Source("nifti", ""))


def world(affine: NDArray[np.float64], column: float, row: float) -> NDArray[np.float64]:
    found: NDArray[np.float64] = affine @ (column, row, 0, 1)
    return found


def smooth(rows: int, columns: int) -> NDArray[np.float32]:
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    made: NDArray[np.float32] = np.sin(3 * x / columns + 1) * np.cos(2 * y / rows) + 2
    return made


@settings(max_examples=40, deadline=None)
@given(scan=SCANS, size=st.integers(8, 40))
def test_the_new_grid_is_square_and_has_the_old_centre(scan: Scan, size: int) -> None:
    """Padding by an odd number of pixels moves the centre by half a pixel, and no value."""
    volume = made(scan)
    new, found = fit(volume, size, RANGE)
    x, y, z = new.spacing
    assert new.values.shape == (len(volume.values), size, size)
    assert x == pytest.approx(y, rel=1e-3)
    assert RANGE[0] * 0.999 <= x <= RANGE[1] * 1.001
    assert z == pytest.approx(volume.spacing[2])
    _, rows, columns = volume.values.shape
    old = world(volume.affine, (columns - 1) / 2, (rows - 1) / 2)
    half = [0.5 * s if a.step == 1 else 0.0 for a, s in zip(
        (found.columns, found.rows), volume.spacing, strict=False)]  # fmt: skip
    off = np.linalg.norm(world(new.affine, (size - 1) / 2, (size - 1) / 2) - old)
    assert off <= np.hypot(*half) + 1e-9


@settings(max_examples=40, deadline=None)
@given(scan=SCANS, size=st.integers(8, 40))
def test_a_linear_ramp_keeps_its_value_at_every_position_in_mm(scan: Scan, size: int) -> None:
    """Area means and splines keep ramps, so that the values say where a pixel lies in mm."""
    volume = made(scan)
    ramp = np.array([0.7, -0.4, 0.2])
    rows, columns = volume.values.shape[1:]
    i, j = np.mgrid[:rows, :columns]
    places = np.stack([j, i, 0 * i, 0 * i + 1], -1) @ volume.affine.T
    found = fit_grid((rows, columns), volume.spacing[1::-1], size, RANGE)
    middle = world(volume.affine, (columns - 1) / 2, (rows - 1) / 2)[:3]
    values = (places[..., :3] - middle) @ ramp
    new = found.apply(values[None])[0]
    affine = found.affine(volume.affine)
    i, j = np.mgrid[:size, :size]
    expected = (np.stack([j, i, 0 * i, 0 * i + 1], -1) @ affine.T)[..., :3] - middle
    sure = _deep(found.rows)[:, None] & _deep(found.columns)
    pixel = np.abs(ramp).sum() * max(volume.spacing)
    error = 0.1 * pixel + 0.03 * np.abs(values).max()  # edges far from air ring a little
    np.testing.assert_allclose(new[sure], (expected @ ramp)[sure], atol=error)


def _deep(one: Axis) -> NDArray[np.bool_]:
    """New pixels that lie in the source, away from its edges."""
    at = one.start + np.arange(len(one.down)) * one.step
    return (at > 6 * max(one.step, 1)) & (at < len(one.up) - 1 - 6 * max(one.step, 1))


@settings(max_examples=40, deadline=None)
@given(scan=SCANS, more=st.integers(0, 9))
def test_padding_and_cropping_are_exact(scan: Scan, more: int) -> None:
    """Where the pixels are kept, every value is kept bit by bit, and comes back where it was."""
    volume = made(scan)
    mm = volume.spacing[0]
    volume.affine[:3, 1] *= mm / volume.spacing[1]
    _, rows, columns = volume.values.shape
    for size in (max(rows, columns) + more, max(4, min(rows, columns) - more)):
        new, found = fit(volume, size, (mm, mm))
        top, left = (size - rows) // 2, (size - columns) // 2
        corner = world(volume.affine, 0, 0)
        np.testing.assert_allclose(world(new.affine, left, top), corner, atol=1e-9)
        back = found.undo(new.values, -7.0)
        np.testing.assert_array_equal(back[:, found.inside], volume.values[:, found.inside])
        assert (back[:, ~found.inside] == -7).all()
        if size >= max(rows, columns):
            assert found.lossless
            inner = new.values[:, top : top + rows, left : left + columns]
            np.testing.assert_array_equal(inner, volume.values)
            assert np.abs(new.values).sum() == pytest.approx(np.abs(inner).sum(), rel=1e-5)


@settings(max_examples=40, deadline=None)
@given(scan=SCANS, size=st.integers(8, 40))
def test_the_fit_of_what_was_undone_is_the_same_again(scan: Scan, size: int) -> None:
    """D U = I where the field lies within the image, or the pixels become smaller."""
    volume = made(scan)
    found = fit_grid(volume.values.shape[1:], volume.spacing[1::-1], size, None)
    image = smooth(size, size).astype(np.float32)
    again = found.apply(found.undo(image))
    sure = _deep(found.rows)[:, None] & _deep(found.columns)
    if min(found.rows.step, found.columns.step) > 1.2:  # nearer to 1, the inverse is damped
        np.testing.assert_allclose(again[sure], image[sure], atol=2e-3)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(scan=SCANS)
def test_smaller_pixels_lose_nothing(scan: Scan) -> None:
    volume = made(scan)
    mm = min(volume.spacing[:2]) / 1.5
    _, rows, columns = volume.values.shape
    size = math.ceil(max(rows * volume.spacing[1], columns * volume.spacing[0]) / mm)
    new, found = fit(volume, size, (mm, mm))
    assert found.lossless
    np.testing.assert_allclose(found.undo(new.values), volume.values, atol=2e-5)


@pytest.mark.parametrize("factor", [2, 3, 4, 5])
def test_whole_factors_give_the_block_mean(factor: int) -> None:
    values = np.random.default_rng(0).normal(size=(2, 12 * factor, 12 * factor))
    found = fit_grid(values.shape[1:], (1.0, 1.0), 12)
    mean = avg_pool2d(from_numpy(values)[:, None], factor)[:, 0].numpy()
    np.testing.assert_allclose(found.apply(values), mean, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "spacing", "size", "allowed", "pixel"),
    [
        ((512, 512), (0.7, 0.7), 128, (1.367, 6.076), 2.8),  # shows everything
        ((217, 181), (1.0, 1.0), 128, (1.6, 2.5), 217 / 128),
        ((64, 64), (1.0, 1.0), 128, (1.6, 2.5), 1.6),  # no smaller pixels than allowed: pads
        ((512, 512), (1.0, 1.0), 128, (1.6, 2.5), 2.5),  # no larger ones: crops
        ((100, 50), (1.0, 4.0), 100, None, 2.0),
        ((100, 100), (1.0, 1.0004), 50, None, 2.0),  # square for all that matters
    ],
)
def test_the_pixels_are_the_smallest_allowed_that_show_everything(
    shape: Any, spacing: Any, size: int, allowed: Any, pixel: float
) -> None:
    found = fit_grid(shape, spacing, size, allowed)
    assert found.rows.step * spacing[0] == pytest.approx(pixel, rel=1e-3)
    assert found.columns.step * spacing[1] == pytest.approx(pixel, rel=1e-3)
    seen = size * pixel >= 0.999 * max(n * mm for n, mm in zip(shape, spacing, strict=True))
    assert found.inside.all() == seen


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_around_the_image_is_air_or_zero(modality: str) -> None:
    values = np.full((1, 6, 10), 50.0, np.float32)
    volume = Volume(values, np.diag([2.0, 2, 2, 1]), modality, Source("array", ""))
    air = -1000.0 if modality == "CT" else 0.0
    padded, _ = fit(volume, 10, (2.0, 2.0))
    assert (padded.values[:, [0, 1, -2, -1]] == air).all()
    mixed, found = fit(volume, 8, (3.0, 3.0))
    assert (mixed.values[:, [0, -1]] == air).all()
    assert mixed.values[:, 4, 4] == pytest.approx(50)
    assert found.undo(mixed.values, air).mean() == pytest.approx(50, abs=0.02 * (50 - air))


def test_an_image_on_the_grid_is_left_alone() -> None:
    volume = Volume(np.ones((1, 8, 8), np.float32), np.eye(4), "MR", Source("array", ""))
    assert fit(volume, 8, (0.5, 2.0))[0] is volume
    assert fit_grid((8, 8), (1.0, 1.0), 8).trivial


@pytest.mark.parametrize("spacing", [(1.0, 0.5), (0.5, 1.0), (1.0, 1.0), (0.7, 0.9)])
def test_square_pixels_show_everything_in_the_finer_spacing(spacing: tuple[float, float]) -> None:
    found = square_pixels((20, 30), spacing)
    extent = max(20 * spacing[0], 30 * spacing[1])
    assert found.shape[0] == found.shape[1] == math.ceil(extent / min(spacing) - 1e-6)
    assert found.lossless
    assert found.inside.all()


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 40), m=st.integers(1, 40), step=st.floats(0.2, 5))
def test_inside_the_field_a_constant_stays(n: int, m: int, step: float) -> None:
    one = axis(n, 1.0, m, step)
    assert np.isfinite(one.up).all()
    assert np.isfinite(one.down).all()
    assert np.linalg.norm(one.up, 2) < 9 * max(1.0, math.sqrt(step))
    assert not one.up[~one.inside].any()
    if m * step >= n and step > 1:  # the field shows everything
        assert one.inside.all()
        np.testing.assert_allclose(one.down.sum(axis=0), 1 / step, atol=1e-9)


def test_the_fit_of_slices_is_that_of_each_slice() -> None:
    volume = Volume(
        np.random.default_rng(0).normal(size=(3, 9, 7)).astype(np.float32),
        np.diag([1.0, 1.5, 4, 1]), "MR", Source("nifti", ""),
    )  # fmt: skip
    new, found = fit(volume, 6)
    assert isinstance(found, Fit)
    for k in range(3):
        part = fitted(volume.select(k, k + 1), found)
        np.testing.assert_array_equal(part.values[0], new.values[k])
        np.testing.assert_allclose(part.affine, new.select(k, k + 1).affine)

"""Unevenly spaced or tilted stacks are reported and rejected, or resampled on request."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from medscore.datasets.dicom.read import read_dicom
from medscore.datasets.volume import AIR

Refused = Callable[..., str]
WriteSlice = Callable[..., Path]
ROWS, COLUMNS = 24, 20
ROW_MM, COLUMN_MM = 0.8, 0.5


def hill(x: NDArray[np.float64], y: NDArray[np.float64], z: float) -> NDArray[np.float64]:
    """HU that change linearly in all directions, so that linear interpolation is exact."""
    values: NDArray[np.float64] = 100 + 16 * x - 10 * y + 24 * z
    return values


@pytest.fixture
def scan(write_slice: WriteSlice) -> Callable[..., Path]:
    """Slices of the hill at heights z, their first pixel ``lean * z`` mm down the columns."""

    def write(heights: list[float], lean: float = 0.0) -> Path:
        for k, z in enumerate(heights):
            x = np.arange(COLUMNS)[None] * COLUMN_MM
            y = np.arange(ROWS)[:, None] * ROW_MM + lean * z
            values = 2 * np.rint(hill(x, y, z) / 2).astype(int)
            path = write_slice(f"{k}.dcm", values, ImagePositionPatient=[0, lean * z, z])
        return path.parent

    return write


def test_an_even_upright_stack_has_no_notes(scan: Callable[..., Path]) -> None:
    volume = read_dicom(scan([0, 2, 4, 6]), resample=True)
    assert volume.source.notes == ()
    assert len(volume.values) == 4


def test_gantry_tilt_is_reported_and_kept_as_shear_in_the_affine(scan: Callable[..., Path]) -> None:
    volume = read_dicom(scan([0, 2, 4, 6], lean=0.25))
    assert any("tilted by 14.0 degrees" in note for note in volume.source.notes)
    np.testing.assert_allclose(volume.affine[:3, 2], [0, -0.5, 2], atol=1e-6)


def test_missing_slices_are_counted_and_refused(
    scan: Callable[..., Path], refused: Refused
) -> None:
    message = refused(read_dicom, scan([0, 2, 4, 8, 10, 12]))
    assert "missing slices: 1, after 4 mm" in message
    assert "`resample`" in message


def test_uneven_slices_are_refused(scan: Callable[..., Path], refused: Refused) -> None:
    assert "1.6 to 2.6 mm apart" in refused(read_dicom, scan([0, 2, 4.6, 6.2, 8.2]))


@pytest.mark.parametrize("heights", [[0, 2, 4, 8, 10, 12], [0, 2, 4.6, 6.2, 8.2], [0, 2, 4, 6]])
@pytest.mark.parametrize("lean", [0.0, 0.25, -0.4])
def test_resampling_puts_every_value_where_it_belongs(
    scan: Callable[..., Path], heights: list[float], lean: float
) -> None:
    """Inside the field of view the values are those of the phantom, up to the rounding of stored
    HU (steps of 2, over up to four pixels and two slices).
    """
    volume = read_dicom(scan(heights, lean), resample=True)
    n = len(volume.values)
    assert n == int(heights[-1] / 2) + 1
    np.testing.assert_allclose(volume.affine[:3, 2], [0, 0, 2], atol=1e-6)
    x, y = np.arange(COLUMNS)[None] * COLUMN_MM, np.arange(ROWS)[:, None] * ROW_MM
    for k, image in enumerate(volume.values):
        z = 2.0 * k
        shift = lean * heights[-1] / ROW_MM
        low, high = int(np.ceil(max(shift, 0))) + 1, ROWS + int(np.floor(min(shift, 0))) - 1
        expected = np.broadcast_to(hill(x, y, z), image.shape)
        np.testing.assert_allclose(image[low:high], expected[low:high], atol=1.01)
    if lean:
        assert (volume.values[-1] == AIR).any()


def test_a_volume_is_not_made_up(scan: Callable[..., Path], refused: Refused) -> None:
    folder = scan([0, 2, 4, 40])
    assert "most slices would be interpolated" in refused(read_dicom, folder, resample=True)


def test_kept_slices_are_not_touched(scan: Callable[..., Path]) -> None:
    folder = scan([0, 2, 4, 8, 10, 12])
    found = read_dicom(folder, resample=True)
    whole = [read_dicom(folder / f"{k}.dcm").values[0] for k in range(6)]
    for ours, k in zip((0, 1, 2, 4, 5, 6), range(6), strict=True):
        assert np.array_equal(found.values[ours], whole[k])
    assert any("resampled to 7 slices" in note for note in found.source.notes)
    assert len(found.source.instances) == 7


def test_two_slices_at_one_position_are_named(
    write_slice: WriteSlice, refused: Refused, scan: Callable[..., Path]
) -> None:
    folder = scan([0, 2, 4])
    flat = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) * 2
    write_slice("echo.dcm", flat, ImagePositionPatient=[0, 0, 2])
    message = refused(read_dicom, folder, resample=True)
    assert "two slices have the same position" in message
    assert "echo.dcm" in message

"""k-space of oversampled readouts: the model of incomplete ones is exact; extreme values change
nothing."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from medscore.datasets.collections.slices import FULL
from medscore.datasets.raw.kspace import RawKspace, measured_samples
from medscore.datasets.volume import Source
from medscore.errors import MedscoreError
from medscore.measurements.from_kspace import from_kspace, target_image
from medscore.measurements.kspace_grid import GridKspace, to_grid
from medscore.measurements.measurement import Measurement
from medscore.measurements.units import brightness
from medscore.operators.linalg import norm
from medscore.operators.mri.fourier import Fourier, fft2c
from medscore.operators.mri.multicoil import MulticoilFourier, sensitivity_of
from medscore.operators.mri.sensitivity import birdcage
from medscore.operators.wrappers.padded import Padded, middle
from medscore.registry.noise import noise_std_of

WHERE = Path("f.h5")
COILS = 4
Mask = Callable[[int, int], NDArray[np.bool_]]


def one_zero(ny: int, nx: int) -> NDArray[np.bool_]:
    mask = np.ones((ny, nx), bool)
    mask[ny // 8, nx // 8] = False
    return mask


def early(ny: int, nx: int) -> NDArray[np.bool_]:
    """An echo whose beginning is missing."""
    mask = np.ones((ny, nx), bool)
    mask[: ny // 3] = False
    return mask


def shutter(ny: int, nx: int) -> NDArray[np.bool_]:
    y, x = np.mgrid[:ny, :nx]
    distance = ((y - ny // 2) / (ny / 2)) ** 2 + ((x - nx // 2) / (nx / 2)) ** 2
    inside: NDArray[np.bool_] = distance <= 1
    return inside


PARTIAL: dict[str, Mask] = {
    "early": early,
    "late": lambda ny, nx: early(ny, nx)[::-1].copy(),
    "shutter": shutter,
    "early, few lines": lambda ny, nx: early(ny, nx) & (np.arange(nx) % 2 == 0),
}


def head(rows: int, columns: int) -> Tensor:
    """A complex object (rows, columns) that does not reach the edge."""
    y, x = (torch.arange(n, dtype=torch.float64) - n // 2 for n in (rows, columns))
    y, x = y[:, None] / rows, x[None] / columns
    disc = ((y**2 + x**2) < 0.16).double()
    disc += 0.5 * (((y - 0.1) ** 2 + (x + 0.1) ** 2) < 0.01)
    return torch.polar(disc, 3 * x + 2 * y)


def scan(ny: int, nx: int, rows: int, mask: Mask | None) -> tuple[RawKspace, Tensor, Tensor]:
    """Raw k-space of a head in an oversampled readout, the head, and the maps of all the grid."""
    x = head(rows, nx)
    top = ny // 2 - rows // 2  # the centres of the image and of the grid coincide
    wide = pad(x, (0, 0, top, ny - rows - top))
    maps = birdcage(COILS, ny, nx).to(torch.complex128)
    kspace = fft2c(maps * wide)[None].to(torch.complex64).numpy()
    sampled = np.ones((ny, nx), bool) if mask is None else mask(ny, nx)
    kspace = kspace * sampled
    spacing = (rows / nx, 1.0, 5.0)
    source = Source("kspace", "0" * 64)
    return RawKspace(kspace, spacing, ny / rows, source, sampled[None]), x, maps


@pytest.mark.parametrize("ny", [64, 63])
@pytest.mark.parametrize("rows", [32, 31])
@pytest.mark.parametrize("mask", PARTIAL)
def test_the_object_satisfies_the_model_of_an_incomplete_readout(
    mask: str, ny: int, rows: int
) -> None:
    """With the true maps, A x = y to the rounding of complex64: the grid, the mask and the centre
    are right. The maps turn with the image where the padding is off the centre by a pixel."""
    raw, x, maps = scan(ny, 24, rows, PARTIAL[mask])
    grid = to_grid(raw, None, WHERE)
    assert grid.size == (rows, 24)
    assert grid.spacing == pytest.approx((rows / 24, 1.0, 5.0))
    assert torch.equal(grid.sampled[0, 0], torch.from_numpy(PARTIAL[mask](ny, 24)))
    off = ny // 2 - rows // 2 - (ny - rows) // 2
    inner = MulticoilFourier(torch.roll(maps, -off, -2), grid.sampled[0, 0])
    model = Padded(inner, *grid.size)
    y = grid.kspace.to(torch.complex128)
    assert float(model.residual(x[None, None], y)) < 3e-7


@pytest.mark.parametrize("mask", ["early", "late", "shutter"])
def test_least_squares_comes_nearer_to_the_object_than_zero_filling(mask: str) -> None:
    raw, x, maps = scan(64, 24, 32, PARTIAL[mask])
    grid = to_grid(raw, None, WHERE)
    model = Padded(MulticoilFourier(maps, grid.sampled[0, 0]), *grid.size)
    y = grid.kspace.to(torch.complex128)
    errors = [
        float(norm(found - x[None, None]) / norm(x[None, None]))
        for found in (model.pinv(y, tol=1e-7, max_iter=60).x, model.zero_filled(y))
    ]
    assert errors[0] < 0.8 * errors[1] < 0.1


@pytest.mark.parametrize("size", [16, 12])
@pytest.mark.parametrize("mask", PARTIAL)
def test_a_lower_resolution_satisfies_the_model(mask: str, size: int) -> None:
    """The middle of k-space is that of an object without detail, whose brightness is kept."""
    ny, nx, taken = 64, 32, 2 * size
    small, x, maps = scan(taken, size, size, None)
    outer = np.ones((1, COILS, ny, nx), np.complex64)
    top, left = ny // 2 - taken // 2, nx // 2 - size // 2
    scale = np.sqrt(ny * nx / (taken * size))
    outer[..., top : top + taken, left : left + size] = scale * small.kspace
    sampled = PARTIAL[mask](ny, nx)
    raw = replace(small, kspace=outer * sampled, sampled=sampled[None], spacing=(1.0, 1.0, 5.0))
    grid = to_grid(raw, size, WHERE)
    assert grid.size == (size, size)
    assert grid.spacing == pytest.approx((32 / size, 32 / size, 5.0))
    model = Padded(MulticoilFourier(maps, grid.sampled[0, 0]), *grid.size)
    assert float(model.residual(x[None, None], grid.kspace.to(torch.complex128))) < 3e-7


@pytest.mark.parametrize("size", [None, 16])
def test_a_zero_sample_is_a_value(size: int | None) -> None:
    """The readout is cropped as that of a scan without the zero."""
    raw, *_ = scan(64, 32, 32, one_zero)
    seen = replace(raw, sampled=measured_samples(raw.kspace))
    assert seen.sampled.all()
    grid = to_grid(seen, size, WHERE)
    side = size or 32
    assert grid.kspace.shape[-2:] == grid.size == (side, side)
    assert grid.sampled.all()


@pytest.mark.parametrize("mask", [*PARTIAL, "two phase encodings", "one zero", "lines"])
def test_missing_samples_are_told_from_zeros(mask: str) -> None:
    """Zeros inside lines are values unless they are frequent."""
    rng = np.random.default_rng(0)
    masks = PARTIAL | {
        "two phase encodings": lambda ny, nx: rng.random((ny, nx)) < 0.5,
        "one zero": lambda ny, nx: np.ones((ny, nx), bool),
        "lines": lambda ny, nx: np.ones((ny, 1), bool) & (np.arange(nx) % 3 == 0),
    }
    sampled = masks[mask](64, 32)
    kspace = (rng.standard_normal((1, COILS, 64, 32)) * sampled).astype(np.complex64)
    middle_line = int(sampled[32].nonzero()[0][-1])
    if mask != "two phase encodings":
        kspace[:, :, 32, middle_line] = 0
        kspace[:, :, int(sampled[:, middle_line].nonzero()[0][0]), middle_line] *= mask == "shutter"
    np.testing.assert_array_equal(measured_samples(kspace)[0], sampled)


def test_a_recon_field_of_view_longer_than_the_phase_encoding_is_kept() -> None:
    """Incomplete lines cannot be cropped to a square, so the image is not one."""
    raw, *_ = scan(64, 24, 32, early)
    raw = replace(raw, spacing=(1.0, 1.0, 5.0), oversampling=2.0)
    grid = to_grid(raw, None, WHERE)
    assert grid.size == (32, 24)
    assert "32 x 24 mm is not square" in grid.notes[0]
    with pytest.raises(MedscoreError, match="not square, because incomplete"):
        to_grid(raw, 16, WHERE)


def test_an_object_longer_than_the_image_is_refused_where_it_cannot_be_cropped() -> None:
    raw, *_ = scan(64, 24, 64, early)
    with pytest.raises(MedscoreError, match="% of the signal lies outside"):
        to_grid(replace(raw, spacing=(32 / 24, 1.0, 5.0), oversampling=2.0), None, WHERE)


def measured(raw: RawKspace, maps: str = "low-resolution") -> tuple[GridKspace, Measurement]:
    grid = to_grid(raw, None, WHERE)
    return grid, from_kspace(grid, raw, maps=maps, mask=None, where=WHERE)


@pytest.mark.parametrize("mask", [None, early])
def test_maps_and_target_are_those_of_the_image(mask: Mask | None) -> None:
    """Also where the grid is longer than the image: estimated maps explain the data."""
    raw, x, _ = scan(64, 32, 32, mask)
    grid, made = measured(raw)
    maps = sensitivity_of(made.operator)
    assert maps is not None
    assert maps.shape[-2:] == made.size == (32, 32)
    assert np.linalg.norm(made.affine[:3, 1]) == pytest.approx(1.0)
    y = torch.from_numpy(made.data)
    found = made.operator.pinv(y, tol=1e-4, max_iter=40).x[0, 0].abs()
    assert float((found - x.abs()).abs().mean()) < 0.05
    assert float(brightness(made.operator, y)) == pytest.approx(1.5, rel=0.1)
    if mask is None:
        target = target_image(grid, "rss", WHERE)
        np.testing.assert_allclose(target[0], x.abs(), atol=1e-4)


@pytest.mark.parametrize("exponent", [-99, -80, -66, 66, 80, 99])
@pytest.mark.parametrize("mask", [None, early])
def test_extreme_values_change_nothing_but_the_unit(mask: Mask | None, exponent: int) -> None:
    """A power of two scales data, noise, target and brightness, and leaves maps as they are."""
    raw, *_ = scan(64, 32, 32, mask)
    rng = np.random.default_rng(0)
    noise = 0.01 * rng.standard_normal((2, *raw.kspace.shape)).astype(np.float32)
    raw = replace(raw, kspace=(raw.kspace + noise[0] + 1j * noise[1]) * raw.sampled[:, None])
    factor = np.float32(2.0) ** exponent
    (grid, one), (far, other) = (
        measured(raw), measured(replace(raw, kspace=raw.kspace * factor))
    )  # fmt: skip
    np.testing.assert_array_equal(other.data, one.data * factor)
    assert float(other.noise.split(":")[1]) == pytest.approx(
        float(one.noise.split(":")[1]) * factor, rel=1e-5
    )
    ours, theirs = sensitivity_of(one.operator), sensitivity_of(other.operator)
    assert ours is not None
    assert theirs is not None
    torch.testing.assert_close(theirs, ours)
    y, z = torch.from_numpy(one.data), torch.from_numpy(other.data)
    bright = brightness(other.operator, z) / factor
    torch.testing.assert_close(bright, brightness(one.operator, y))
    if mask is None:
        for kind in ("rss", "mvue"):
            np.testing.assert_allclose(
                target_image(far, kind, WHERE) / factor, target_image(grid, kind, WHERE), rtol=1e-4
            )


def test_the_brightness_is_that_of_the_image_not_of_the_grid() -> None:
    """Of random magnitudes, so that the empty rows of the grid would shift the percentile."""
    x = torch.rand(1, 1, 32, 24, generator=torch.Generator().manual_seed(0)) + 0j
    model = Padded(Fourier(torch.ones(64, 24)), 32, 24)
    expected = torch.quantile(x.abs().flatten(), FULL)
    torch.testing.assert_close(brightness(model, model(x)), expected, rtol=1e-4, atol=0)


def test_corners_without_noise_do_not_determine_it() -> None:
    raw, *_ = scan(64, 32, 32, None)
    raw.kspace[..., :8, :], raw.kspace[..., -8:, :] = 0, 0
    raw.kspace[..., :8], raw.kspace[..., -8:] = 0, 0
    raw = replace(raw, spacing=(1.0, 0.5, 5.0))  # a square field of view, so nothing is cropped
    made = measured(raw)[1]
    assert made.noise == "unknown"
    with pytest.raises(MedscoreError, match="show no noise"):
        noise_std_of("recorded", made, WHERE)


def test_the_middle_is_what_padding_surrounds() -> None:
    images = torch.arange(35.0).reshape(1, 1, 7, 5)
    inner = MulticoilFourier(torch.ones(1, 7, 5, dtype=torch.complex64), torch.ones(7, 5))
    padded = Padded(inner, 4, 3).T_inv(inner.T(images + 0j))
    torch.testing.assert_close(padded.real, middle(images, (4, 3)))

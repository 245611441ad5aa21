"""A refined image has the image's pixels as its means, is smooth, and keeps a bound."""

import numpy as np
import pytest

from medscore.measurements.refined import block_means, refined, spread, whole_field

FACTORS = (1, 2, 3, 5, 8)
SHAPES = ((16, 16), (9, 20))
every_factor = pytest.mark.parametrize("factor", FACTORS)


def image(shape: tuple[int, int]) -> np.ndarray:
    """Noise on a disc in air, in HU."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    inside = np.hypot(y[:, None] / shape[0], x / shape[1]) < 0.35
    noise = np.random.default_rng(0).normal(0, 300, shape)
    return np.where(inside, noise.clip(-1000), -1000.0)


@every_factor
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("lowest", [-np.inf, -1000.0])
def test_block_means_are_the_pixels(shape: tuple[int, int], factor: int, lowest: float) -> None:
    x = image(shape)
    found = refined(x, factor, lowest)
    assert found.shape == (factor * shape[0], factor * shape[1])
    np.testing.assert_allclose(block_means(found, factor), x, atol=1e-9)


@every_factor
def test_a_ramp_stays_a_ramp_away_from_the_edges(factor: int) -> None:
    rows, columns = np.mgrid[:24, :24] - 11.5
    fine_rows, fine_columns = (np.mgrid[: 24 * factor, : 24 * factor] + 0.5) / factor - 12
    found = refined(3 * rows - 2 * columns + 7, factor)
    inside = (slice(8 * factor, -8 * factor),) * 2
    expected = 3 * fine_rows - 2 * fine_columns + 7
    np.testing.assert_allclose(found[inside], expected[inside], atol=2e-3)


@pytest.mark.parametrize("factor", FACTORS[1:])
def test_a_smooth_image_is_followed_better_than_by_its_pixels(factor: int) -> None:
    def wave(n: int) -> np.ndarray:
        t = (np.arange(n) + 0.5) / n
        return np.outer(np.sin(9 * t), np.cos(7 * t))

    truth = wave(24 * factor)
    pixels = block_means(truth, factor)
    inside = (slice(6 * factor, -6 * factor),) * 2  # away from the edges of the spline
    error = np.abs(refined(pixels, factor) - truth)[inside].max()
    assert error < 0.1 * np.abs(spread(pixels, factor) - truth)[inside].max()


@pytest.mark.parametrize("factor", FACTORS[1:])
def test_overshoots_stay_above_the_bound_only_where_one_is_given(factor: int) -> None:
    x = image((20, 20))
    assert refined(x, factor).min() < -1001
    found = refined(x, factor, -1000.0)
    assert found.min() >= -1000 - 1e-9
    away = spread(x, factor) > 200  # far from the bound the spline itself remains
    np.testing.assert_allclose(found[away], refined(x, factor)[away])


@pytest.mark.parametrize(
    ("shape", "spacing", "side"),
    [
        ((16, 16), (2.0, 2.0), 16), ((12, 16), (2.0, 2.0), 16), ((16, 12), (2.0, 2.0), 16),
        ((13, 16), (2.0, 2.0), 32), ((15, 12), (2.0, 2.0), 30), ((15, 15), (2.0, 2.0), 15),
        ((5, 16), (6.0, 2.0), 32), ((4, 16), (6.0, 2.0), 16), ((16, 11), (2.0, 3.1), 18),
        ((13, 8), (2.0, 4.0), 32),
    ],
)  # fmt: skip
def test_the_whole_field_has_the_mass_and_the_middle_of_the_slices(
    shape: tuple[int, int], spacing: tuple[float, float], side: int
) -> None:
    """In square pixels that are no larger, and without values below air."""
    found, x = whole_field(shape, spacing), image(shape)
    values = found.of(x)
    pixel = max(n * mm for n, mm in zip(shape, spacing, strict=True)) / side
    assert values.shape == (side, side) == (found.side, found.side)
    assert values.min() >= -1000.001
    expected, moments = _moments(x, spacing), _moments(values, (pixel, pixel))
    assert moments[0] == pytest.approx(expected[0], rel=1e-4)
    np.testing.assert_allclose(moments[1], expected[1], atol=0.05 * min(spacing))


def _moments(hu: np.ndarray, spacing: tuple[float, float]) -> tuple[float, list[float]]:
    """The mass above air, and its centre in mm from the middle."""
    mass = hu.astype(float) + 1000
    places = [(np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(hu.shape, spacing, strict=True)]
    total = mass.sum()
    centre = [float(p @ mass.sum(1 - i) / total) for i, p in enumerate(places)]
    return total * spacing[0] * spacing[1], centre

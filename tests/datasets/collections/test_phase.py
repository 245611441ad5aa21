"""Random phases of MR images: exact magnitudes, stated statistics, and explicit random numbers."""

import math

import pytest
import torch
from torch import Tensor

from medscore.datasets.collections.phase import (
    coil_phase,
    random_phase,
    smooth_field,
    susceptibility_field,
    with_phase,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def disc(rows: int = 48, columns: int = 40, radius: float = 14.0) -> Tensor:
    """A disc of tissue with texture, in air."""
    y, x = torch.arange(rows) - rows / 2, torch.arange(columns) - columns / 2
    inside = (y[:, None] ** 2 + x**2).sqrt() < radius
    return inside * (0.5 + 0.5 * torch.rand(rows, columns, generator=seeded(9)))


@pytest.mark.parametrize("shape", [(48, 40), (31, 37), (16, 64), (1, 1)])
def test_the_magnitude_is_kept(shape: tuple[int, int]) -> None:
    m = torch.rand(shape, generator=seeded(1))
    phase = random_phase(m, 0.9, seeded())
    assert phase.shape == shape
    assert phase.isfinite().all()
    torch.testing.assert_close(with_phase(m, phase).norm(dim=0), m, rtol=1e-6, atol=1e-7)


def test_all_random_numbers_are_of_the_generator() -> None:
    torch.manual_seed(0)
    first = random_phase(disc(), 0.9, seeded(3))
    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert torch.equal(random_phase(disc(), 0.9, seeded(3)), first)
    assert torch.equal(torch.get_rng_state(), before)
    assert float((random_phase(disc(), 0.9, seeded(4)) - first).abs().max()) > 0.1


@pytest.mark.parametrize("pixel", [0.5, 2.0])
def test_a_smooth_field_has_unit_variance_and_its_correlation_length(pixel: float) -> None:
    """Products at pairs of points l = 8 mm and 2 l apart, of 600 independent fields.

    The mean of a squared standard normal number has the standard deviation sqrt(2 / 600) = 0.058;
    those of the products are below it. Five of them, 0.29, and 0.03 for the modes that are left
    out: a correct field exceeds one of the three bounds once in about 600,000 seeds.
    """
    length, generator = 8.0, seeded(5)
    step = round(length / pixel)
    shape = (2 * step + 1, 3)
    fields = torch.stack([smooth_field(shape, pixel, length, generator) for _ in range(600)])
    for distance in (0, 1, 2):
        products = fields[:, 0, 1] * fields[:, distance * step, 1]
        assert abs(float(products.mean()) - math.exp(-(distance**2) / 2)) < 0.32


def test_a_smooth_field_changes_little_from_pixel_to_pixel() -> None:
    """The gradient has the variance 1 / l^2: differences of 0.1 for l of 10 pixels."""
    fields = torch.stack([smooth_field((40, 40), 1.0, 10.0, seeded(i)) for i in range(50)])
    assert float(fields.diff(dim=1).std()) == pytest.approx(0.1, rel=0.2)
    assert float(fields.diff(dim=2).std()) == pytest.approx(0.1, rel=0.2)


def test_equal_coils_leave_no_phase_and_unlike_ones_any() -> None:
    assert float(coil_phase((20, 30), 0.0, seeded()).abs().max()) < 1e-5
    phases = torch.stack([coil_phase((20, 30), 1.0, seeded(i)) for i in range(20)])
    assert phases.shape == (20, 20, 30)
    assert float(phases.abs().max()) <= math.pi + 1e-5
    assert float(phases.std()) > 1.0
    jumps = torch.polar(torch.ones_like(phases), phases).diff(dim=2).abs()
    assert float(jumps.median()) < 0.2


def test_the_field_of_air_and_tissue_is_strongest_at_their_border() -> None:
    shape, radius = (48, 40), 14.0
    y, x = torch.arange(shape[0]) - shape[0] / 2, torch.arange(shape[1]) - shape[1] / 2
    distance = (y[:, None] ** 2 + x**2).sqrt()
    for seed in range(8):
        field = susceptibility_field(disc(*shape, radius), 2.0, seeded(seed))
        assert field.shape == shape
        assert float(field.abs().max()) == pytest.approx(1)
        border = field[(distance - radius).abs() < 4].abs()
        assert float(border.max()) == pytest.approx(1)
        assert float(border.mean()) > 1.5 * float(field[distance < 6].abs().mean())


def test_without_tissue_there_is_no_field() -> None:
    assert not susceptibility_field(torch.zeros(12, 12), 1.0, seeded()).any()

"""k-space masks: counts, centres and shapes."""

import math

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from medscore.operators.mri.masks import (
    acceleration_of,
    calibration_region,
    centre_fraction,
    equispaced,
    radial,
    random_cartesian,
    spiral,
    variable_density_1d,
    variable_density_2d,
)

lines = st.integers(16, 400)
accelerations = st.floats(1.0, 12.0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cartesian(shape: tuple[int, int], acceleration: float) -> list[Tensor]:
    return [
        equispaced(shape, acceleration),
        random_cartesian(shape, acceleration, seeded()),
        variable_density_1d(shape, acceleration, seeded()),
    ]


@given(lines, accelerations)
def test_the_acceleration_counts_all_lines_the_centre_included(n: int, acceleration: float) -> None:
    for mask in cartesian((5, n), acceleration):
        assert mask.shape == (5, n)
        assert torch.equal(mask, mask[:1].expand_as(mask))
        assert int(mask[0].sum()) == max(2, round(n / acceleration))


@given(lines, accelerations)
def test_the_centre_is_fully_sampled(n: int, acceleration: float) -> None:
    width = min(max(2, round(n * centre_fraction(acceleration))), max(2, round(n / acceleration)))
    first = n // 2 - width // 2
    for mask in cartesian((3, n), acceleration):
        assert bool(mask[:, first : first + width].all())


@pytest.mark.parametrize(("acceleration", "share"), [(4.0, 0.08), (8.0, 0.04), (24.0, 0.02)])
def test_the_dissertations_accelerations_have_their_centres(
    acceleration: float, share: float
) -> None:
    assert centre_fraction(acceleration) == pytest.approx(share)
    mask = equispaced((240, 240), acceleration)
    assert int(mask[0].sum()) == 240 / acceleration
    assert acceleration_of(mask) == pytest.approx(acceleration)


@given(st.floats(1.0, 100.0), st.floats(1.0, 100.0))
def test_a_higher_acceleration_has_no_larger_centre(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    assert centre_fraction(high) <= centre_fraction(low) + 1e-12
    assert centre_fraction(high) <= 1 / high


@given(st.integers(40, 400), st.floats(2.0, 8.0))
def test_equispaced_lines_are_equally_far_apart_within_one(n: int, acceleration: float) -> None:
    """On each side of the centre the steps differ by at most one line."""
    taken = equispaced((1, n), acceleration)[0].nonzero()[:, 0]
    width = min(max(2, round(n * centre_fraction(acceleration))), len(taken))
    first = n // 2 - width // 2
    for side in (taken[taken < first], taken[taken >= first + width]):
        steps = side.diff()
        assert len(steps) == 0 or int(steps.max() - steps.min()) <= 1


def test_random_masks_repeat_with_their_seed_alone() -> None:
    for make in (random_cartesian, variable_density_1d, variable_density_2d):
        a, b = make((32, 32), 4.0, seeded(1)), make((32, 32), 4.0, seeded(1))
        assert torch.equal(a, b)
        assert not torch.equal(a, make((32, 32), 4.0, seeded(2)))


@given(st.integers(12, 60), st.integers(12, 60), st.floats(1.5, 10.0))
def test_a_2d_density_meets_its_count_and_centre(ny: int, nx: int, acceleration: float) -> None:
    mask = variable_density_2d((ny, nx), acceleration, seeded(), centre=3)
    assert int(mask.sum()) == round(ny * nx / acceleration)
    assert bool(mask[ny // 2 - 1 : ny // 2 + 2, nx // 2 - 1 : nx // 2 + 2].all())


def test_density_falls_from_the_centre() -> None:
    """1,000 masks: lines near the centre are sampled more often than distant ones; the difference
    exceeds 20 standard errors.
    """
    total = sum(
        variable_density_1d((1, 64), 4.0, seeded(s), centre=2)[0].double() for s in range(1000)
    )
    assert isinstance(total, Tensor)
    near, far = float(total[36:44].mean()), float(total[56:].mean())
    assert near > 2 * far + 6 * math.sqrt(1000)


def test_radial_spokes_pass_the_centre_and_reach_the_rim() -> None:
    mask = radial((33, 33), 8)
    assert bool(mask[16].all())  # the spoke at 0 lies along kx
    assert bool(mask[:, 16].all())
    assert bool(mask.diagonal().all())
    # half a turn maps the grid's spokes to themselves
    assert torch.equal(mask, mask.flip(0, 1))
    assert 8 * 30 < int(mask.sum()) < 8 * 47


def test_a_spiral_is_one_line_from_the_centre_to_the_corner() -> None:
    mask = spiral((32, 32), 6.0)
    assert bool(mask[16, 16])
    rows, columns = mask.nonzero().unbind(1)
    reach = ((rows - 16) ** 2 + (columns - 16) ** 2).double().sqrt()
    assert float(reach.max()) > 18
    # within the grid every point has a neighbour: the line is whole
    ones = torch.ones(1, 1, 3, 3, dtype=torch.float64)
    around = torch.nn.functional.conv2d(mask[None, None].double(), ones, padding=1)[0, 0]
    assert bool((around[rows, columns][reach < 14] >= 2).all())
    assert int(spiral((32, 32), 6.0, arms=3).sum()) > 1.5 * int(mask.sum())


@given(st.integers(4, 20), st.integers(4, 20))
def test_the_calibration_region_is_the_full_centre(height: int, width: int) -> None:
    mask = torch.zeros(48, 50, dtype=torch.bool)
    mask[24 - height // 2 : 24 + height // 2, 25 - width // 2 : 25 + width // 2] = True
    mask[::7, ::5] = True
    found = calibration_region(mask)
    assert found[0] >= 2 * (height // 2)
    assert found[1] >= 2 * (width // 2)
    half = (found[0] // 2, found[1] // 2)
    assert bool(mask[24 - half[0] : 24 + half[0], 25 - half[1] : 25 + half[1]].all())


def test_a_mask_without_a_centre_has_no_calibration_region() -> None:
    mask = torch.ones(16, 16, dtype=torch.bool)
    mask[8, 8] = False
    with pytest.raises(ValueError, match="no fully sampled centre"):
        calibration_region(mask)


@pytest.mark.parametrize(
    ("acceleration", "centre", "message"),
    [
        (0.5, None, "`acceleration` is 0.5"),
        (8.0, 20, "use a lower `acceleration` or `centre`"),
        (2.0, 99, "`centre` is 99"),
    ],
)
def test_invalid_accelerations_are_refused(
    acceleration: float, centre: int | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        equispaced((64, 64), acceleration, centre=centre)


def test_no_spokes_and_no_turns_are_refused() -> None:
    with pytest.raises(ValueError, match="`spokes` is 0"):
        radial((8, 8), 0)
    with pytest.raises(ValueError, match="`turns` is 0"):
        spiral((8, 8), 0.0)

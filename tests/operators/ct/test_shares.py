"""The angle that each view stands for."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from numpy.typing import NDArray

from medscore.operators.ct.shares import half_turn_shares, turn_arcs

RANDOM = np.random.default_rng(0)


def shares(degrees: object) -> NDArray[np.float64]:
    angles = torch.tensor(np.radians(np.asarray(degrees, dtype=np.float64)))
    return np.degrees(half_turn_shares(angles).numpy())


HALF_TURNS = {
    "even": np.arange(0, 180, 3.0),
    "random": np.sort(RANDOM.uniform(0, 180, 60)),
    "few and random": np.array([3.0, 20.0, 95.0, 110.0, 160.0]),
    "dense, then sparse": np.r_[np.arange(0, 60, 1.0), np.arange(60, 180, 4.0)],
    "a wide gap": np.r_[np.arange(0, 60, 1.0), np.arange(90, 180, 1.0)],
    "clusters": np.concatenate([np.arange(a, a + 8, 0.5) for a in (0, 40, 80, 140)]),
    "equal views": np.r_[np.arange(0, 180, 2.0), [10.0, 10.0, 50.0]],
    "both ends of half a turn": np.arange(0, 181, 1.0),
    "200 degrees": np.arange(0, 200, 1.0),
    "a full turn": np.arange(0, 360, 0.7),
    "golden angle": np.arange(50) * 111.246 % 180,
    "a few degrees short": np.arange(-160, 16, 1.0),
    "not from zero": np.arange(-75, 105, 1.5),
}


@pytest.mark.parametrize("name", HALF_TURNS)
def test_the_shares_of_a_half_turn_sum_to_it(name: str) -> None:
    found = shares(HALF_TURNS[name])
    assert found.sum() == pytest.approx(180)
    assert (found >= 0).all()


@pytest.mark.parametrize("name", HALF_TURNS)
def test_the_order_of_the_views_does_not_matter(name: str) -> None:
    degrees = HALF_TURNS[name]
    order = RANDOM.permutation(len(degrees))
    np.testing.assert_allclose(shares(degrees[order]), shares(degrees)[order], atol=1e-6)


@pytest.mark.parametrize(
    ("degrees", "arc"),
    [
        (np.arange(0, 120, 1.0), 120),
        (np.arange(-60, 60, 1.0), 120),
        (np.arange(0, 136, 1.0), 136),
        (np.arange(100, 250, 2.0), 150),
        (np.sort(RANDOM.uniform(0, 60, 200)), 60),
        ([10.0, 10.5, 11.0], 1.5),
    ],
)
def test_the_shares_of_a_limited_arc_sum_to_it(degrees: object, arc: float) -> None:
    found = shares(degrees)
    assert found.sum() == pytest.approx(arc, rel=0.02)
    assert found.max() < 0.2 * found.sum() or len(found) < 5


def test_equal_views_divide_the_share_of_one() -> None:
    found = shares([0.0, 45.0, 90.0, 90.0, 90.0, 135.0, 180.0])
    assert found == pytest.approx([22.5, 45, 15, 15, 15, 45, 22.5])


def test_a_single_view_stands_for_half_a_turn() -> None:
    assert shares([17.0]) == pytest.approx([180])


@given(st.lists(st.integers(-720, 720), min_size=1, max_size=30), st.integers(-360, 360))
def test_a_turn_of_fan_views_is_shared_in_full_whatever_its_start(
    halves: list[int], start: int
) -> None:
    """With and without wide gaps: what is left out are the gaps."""
    angles = torch.tensor(halves, dtype=torch.float64).deg2rad() / 2
    found, turned = turn_arcs(angles), turn_arcs(angles + math.radians(start / 2))
    total = sum(length for _, length in found.ends) if found.ends else 2 * math.pi
    assert float(found.shares.sum()) == pytest.approx(total, abs=1e-6)
    assert float(turned.shares.sum()) == pytest.approx(float(found.shares.sum()), abs=1e-5)


def test_an_arc_reaches_half_a_step_beyond_its_views() -> None:
    arcs = turn_arcs(torch.arange(300, 516, 2).double().remainder(360).deg2rad())
    ((start, length),) = arcs.ends
    assert math.degrees(start) == pytest.approx(299)
    assert math.degrees(length) == pytest.approx(216)
    assert torch.allclose(arcs.shares, torch.full((108,), math.radians(2)).double())


def test_two_gaps_leave_two_arcs() -> None:
    degrees = [*range(150), *range(200, 330)]
    arcs = turn_arcs(torch.tensor(degrees).double().deg2rad())
    found = sorted((math.degrees(a) % 360, math.degrees(n)) for a, n in arcs.ends)
    assert np.allclose(found, [(199.5, 130), (359.5, 150)])

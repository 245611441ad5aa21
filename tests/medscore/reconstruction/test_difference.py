"""Two reconstructions of one measurement differ where their intervals do not overlap."""

import numpy as np
import pytest

from medscore.reconstruction.difference import Side, difference_of


def side(mean: float, half: float) -> Side:
    values = np.full((1, 4, 4), mean, dtype=np.float32)
    return Side(values, values - half, values + half)


@pytest.mark.parametrize(
    ("other", "share"), [(1.0, 0.0), (1.9, 0.0), (2.1, 1.0), (-2.1, 1.0), (0.0, 0.0)]
)
def test_intervals_that_do_not_overlap_are_apart(other: float, share: float) -> None:
    body = np.zeros((1, 4, 4), dtype=bool)
    body[0, :2] = True
    found = difference_of(side(0.0, 1.0), side(other, 1.0), body)
    assert (found.share, found.rms) == (share, pytest.approx(abs(other)))
    assert found.values == pytest.approx(-other)
    assert found.apart.sum() == 8 * share

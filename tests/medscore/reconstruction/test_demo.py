"""The demonstration's summary."""

import pytest

from medscore.reconstruction.demo import Demo
from medscore.reconstruction.outcome import BOUND, Row


def test_gains_are_those_of_the_last_method_and_not_of_the_limit_of_the_grid() -> None:
    def rows(*psnr: float) -> list[Row]:
        names = ("FBP", "total variation", "one sample", BOUND)
        return [Row(name, p, 0.9, 0, 0.0) for name, p in zip(names, psnr, strict=True)]

    found = Demo({"a": rows(20, 30, 34, 90), "b": rows(22, 33, 35, 95)}).gains()
    assert found == pytest.approx({"FBP": 13.5, "total variation": 3.0})

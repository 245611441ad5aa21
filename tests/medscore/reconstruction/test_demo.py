"""The demonstration's summary."""

import pytest

from medscore.engine.loop import StepInfo
from medscore.reconstruction import demo as module
from medscore.reconstruction.demo import Demo, affordable_steps
from medscore.reconstruction.method import Run
from medscore.reconstruction.outcome import BOUND, Row


def test_gains_are_those_of_the_last_method_and_not_of_the_limit_of_the_grid() -> None:
    def rows(*psnr: float) -> list[Row]:
        names = ("FBP", "total variation", "one sample", BOUND)
        return [Row(name, p, 0.9, 0, 0.0) for name, p in zip(names, psnr, strict=True)]

    found = Demo({"a": rows(20, 30, 34, 90), "b": rows(22, 33, 35, 95)}).gains()
    assert found == pytest.approx({"FBP": 13.5, "total variation": 3.0})


@pytest.mark.parametrize(("seconds", "steps"), [(0.1, 49), (1.0, 30), (1.5, 20), (60.0, 14)])
def test_a_slow_machine_makes_fewer_steps(
    seconds: float, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first step, with the preparation of operator and prior, does not count."""
    now = 0.0

    class Slow:
        def reconstruct(self, measurement: object, run: Run) -> None:
            nonlocal now
            for step, took in enumerate((100.0, seconds), 1):
                now += took
                run.on_step(StepInfo(step, 2, step))

    def chosen(**settings: int) -> Slow:
        assert settings == {"steps": 2}
        return Slow()

    monkeypatch.setattr(module, "choose_method", chosen)
    assert affordable_steps(None, lambda: now) == steps  # type: ignore[arg-type]

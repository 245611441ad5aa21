"""The space of a search: a range for each parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import model_validator

from medscore.io.specs import Strict

Value = int | float | str


class Range(Strict):
    """The range of one parameter: an interval, or a list of values.

    Attributes:
        low: lower end of the interval.
        high: upper end of the interval.
        log: whether the interval is searched on a logarithmic scale.
        integer: whether only whole numbers are tried.
        values: the values to try, instead of an interval.
    """

    low: float | None = None
    high: float | None = None
    log: bool = False
    integer: bool = False
    values: tuple[Value, ...] | None = None

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Range:
        if self.values is not None:
            if self.low is not None or self.high is not None or not self.values:
                raise ValueError("give some values, or low and high")
        elif self.low is None or self.high is None or not self.low < self.high:
            raise ValueError("give low below high, or values")
        elif self.log and not self.low > 0:
            raise ValueError("a logarithmic range must be above 0")
        return self

    def suggest(self, trial: Any, name: str) -> Value:
        """A value for a trial.

        Args:
            trial: the trial of optuna.
            name: name of the parameter.
        """
        if self.values is not None:
            chosen: Value = trial.suggest_categorical(name, self.values)
            return chosen
        assert self.low is not None
        assert self.high is not None
        number: int | float
        if self.integer:
            number = trial.suggest_int(name, int(self.low), int(self.high), log=self.log)
        else:
            number = trial.suggest_float(name, self.low, self.high, log=self.log)
        return number


Space = Mapping[str, Range]


def is_grid(space: Space) -> bool:
    """Whether every parameter has a list of values, so that all combinations are tried.

    Args:
        space: ranges by parameter.
    """
    return all(r.values is not None for r in space.values())


def grid_size(space: Space) -> int:
    """The number of combinations of a grid.

    Args:
        space: ranges by parameter, all with a list of values.
    """
    size = 1
    for r in space.values():
        size *= len(r.values or ())
    return size

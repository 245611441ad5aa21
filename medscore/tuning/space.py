"""The search space: a range for each parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from medscore.io.specs import Strict

Value = int | float | str


class Range(Strict):
    """The range of one parameter: an interval, or a list of values.

    Attributes:
        low: lower end of the interval.
        high: upper end of the interval.
        log: whether the interval is searched on a logarithmic scale.
        integer: whether only integers are tried.
        values: values to try, instead of an interval.
    """

    low: float | None = None
    high: float | None = None
    log: bool = False
    integer: bool = False
    values: tuple[Value, ...] | None = Field(default=None, max_length=10_000)

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Range:
        if self.values is not None:
            if self.low is not None or self.high is not None or not self.values:
                raise ValueError("set one or more values, or low and high, but not both")
        elif self.low is None or self.high is None or not self.low < self.high:
            raise ValueError("set low and high with low < high, or values")
        elif self.log and not self.low > 0:
            raise ValueError("low must be greater than 0 for a logarithmic range")
        elif self.integer and max(abs(self.low), abs(self.high)) >= 2**53:
            raise ValueError("low and high of integers must be below 2^53")
        return self

    def suggest(self, trial: Any, name: str) -> Value:
        """The value that a trial proposes for the parameter.

        Args:
            trial: a trial of optuna.
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
    """True if every parameter has a list of values, so that all combinations are tried.

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

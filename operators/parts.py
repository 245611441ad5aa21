"""Systems of equations of large batches, solved for some samples at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

AT_A_TIME = 5_000_000
"""Number of values on the full measurement grids of the samples whose systems are solved together:
it bounds the memory of the solver, which takes some twenty times as much."""

Solver = TypeVar("Solver", bound=Callable[..., Tensor])


def in_parts(solve: Solver) -> Solver:
    """A method of an operator that is called for some samples of a large batch at a time.

    Args:
        solve: the method, of images x, measurements y, a strength, one for all samples or one for
            each, and settings.
    """

    @wraps(solve)
    def whole(
        operator: Any, x: Tensor, y: Tensor, strength: Tensor | float, **settings: Any
    ) -> Tensor:
        count = max(1, AT_A_TIME // max(1, y[0].numel()))
        if len(y) <= count:
            return solve(operator, x, y, strength, **settings)
        found = []
        for first in range(0, len(y), count):
            rows = list(range(first, min(first + count, len(y))))
            own = strength[rows] if isinstance(strength, Tensor) else strength
            found.append(solve(operator.select(rows), x[rows], y[rows], own, **settings))
        return torch.cat(found)

    return cast(Solver, whole)

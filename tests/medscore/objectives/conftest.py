"""Statistical comparison of two gradients, and of the power of that comparison."""

from collections.abc import Callable

import pytest
from torch import Tensor

SIGMAS = 6
"""Accepted standard errors: false-alarm rate 2e-9 per number, below 1e-6 per test."""


def unbiased(objective: Tensor, reference: Tensor, factor: float = 1.0, slack: float = 0.0) -> bool:
    """True if the means of rows (n, P) agree with a reference in all P numbers.

    A further difference of ``slack`` times the largest number of the reference is accepted.
    """
    gap = factor * objective - reference
    bound = SIGMAS * gap.std(0) / len(gap) ** 0.5 + slack * reference.mean(0).abs().max()
    return bool((gap.mean(0).abs() <= bound).all())


def prove(objective: Tensor, reference: Tensor, slack: float = 0.0) -> None:
    """Check that the means agree, and would not with an error of 10 %."""
    assert unbiased(objective, reference, slack=slack)
    for factor in (0.9, 1.1):
        assert not unbiased(objective, reference, factor, slack), f"blind to a factor {factor}"


@pytest.fixture
def proven() -> Callable[..., None]:
    return prove


@pytest.fixture
def agree() -> Callable[..., bool]:
    return unbiased

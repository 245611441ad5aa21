"""When two gradients are the same, and when a test of it could have failed."""

from collections.abc import Callable

import pytest
from torch import Tensor

SIGMAS = 6
"""Standard errors allowed: false-alarm rate 2e-9 a number, below 1e-6 over all of a test's."""


def unbiased(objective: Tensor, reference: Tensor, factor: float = 1.0, slack: float = 0.0) -> bool:
    """Whether the means of rows (n, P) agree in all P numbers, ``slack`` relative to the largest
    of the reference's allowed on top.
    """
    gap = factor * objective - reference
    bound = SIGMAS * gap.std(0) / len(gap) ** 0.5 + slack * reference.mean(0).abs().max()
    return bool((gap.mean(0).abs() <= bound).all())


def prove(objective: Tensor, reference: Tensor, slack: float = 0.0) -> None:
    """The means agree, and would not with a constant 10 % off."""
    assert unbiased(objective, reference, slack=slack)
    for factor in (0.9, 1.1):
        assert not unbiased(objective, reference, factor, slack), f"blind to a factor {factor}"


@pytest.fixture
def proven() -> Callable[..., None]:
    return prove


@pytest.fixture
def agree() -> Callable[..., bool]:
    return unbiased

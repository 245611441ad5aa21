"""Tests of numbers, for checks of arguments."""

from __future__ import annotations

import numbers
from typing import TypeGuard


def is_number(value: object) -> TypeGuard[float]:
    """True for a real number of Python or NumPy; truth values are none.

    Args:
        value: any value.
    """
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_whole(value: object) -> TypeGuard[int]:
    """True for an integer of Python or NumPy; truth values are none.

    Args:
        value: any value.
    """
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)

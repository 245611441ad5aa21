"""Extreme numbers and texts, and changes to trees of them, such as the content of YAML and JSON."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

NUMBERS: tuple[int | float, ...] = (
    0, -1, 1, 2, 3, 7, 127, 255, 65_535, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63,
    2**64,
    -(2**63), 10**30, 3_000_000, 0.5, -0.0, 1e-320, 1e-21, 1e20, 1e38, 1e300, math.nan, math.inf,
    -math.inf,
)  # fmt: skip
TEXTS = (
    "", " ", "a" * 10_000, "\0", "a\0b", "\n", "a\nb", "..", "../../x", "/etc/passwd", "/dev/zero",
    "ä ☃ \U0001f600", "%s%n{0}{x}", "nan", "1e999", "-0", "true", "null", "[red]x[/red]", "[/]",
    "\x1b[31mred", "0x10", "2026-13-45", "*", "[", "[ ]", "~", "-o", "gaussian:nan", "poisson:-1",
    "\ufeff", "\u202e", "1" * 5000, "__class__", "$HOME", "CT", "MR", "magnitude", "none",
)  # fmt: skip

Tree = Any
"""Dictionaries, lists, numbers, texts, booleans and None."""


def extreme(rng: np.random.Generator, like: Any = None) -> Any:
    """An extreme value.

    Args:
        rng: source of the random draws.
        like: the value that it replaces; half of the time the new one is of the same type.
    """
    if isinstance(like, int | float) and not isinstance(like, bool) and rng.random() < 0.6:
        if rng.random() < 0.5:
            factor = [-1, 0, 2, 10, 1e-3, 1e6][int(rng.integers(6))]
            value = like * factor
            return int(value) if isinstance(like, int) and float(value).is_integer() else value
        return NUMBERS[int(rng.integers(len(NUMBERS)))]
    if isinstance(like, str) and rng.random() < 0.5:
        return TEXTS[int(rng.integers(len(TEXTS)))]
    others = (*NUMBERS, *TEXTS, True, False, None, [], {}, [[]], {"a": 1}, [1, 2], ["a"], [None])
    return copy.deepcopy(others[int(rng.integers(len(others)))])


def nodes(tree: Tree) -> list[tuple[Any, Any]]:
    """All places of a tree, as (container, key or index).

    Args:
        tree: a dictionary or a list.
    """
    found: list[tuple[Any, Any]] = []
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        found.append((tree, key))
        if isinstance(value, dict | list):
            found += nodes(value)
    return found


def changed(tree: Tree, rng: np.random.Generator, *, times: int = 1) -> Tree:
    """A copy of a tree with some places changed.

    Args:
        tree: a dictionary or a list.
        rng: source of the random draws.
        times: number of changes.
    """
    root = [copy.deepcopy(tree)]
    for _ in range(times):
        places = nodes(root)
        if not places:
            break
        container, key = places[int(rng.integers(len(places)))]
        _change(container, key, rng)
    return root[0] if root else None


def _change(container: Any, key: Any, rng: np.random.Generator) -> None:
    """Change one place: its value, its name, its neighbours, or its depth."""
    value = container[key]
    kind = int(rng.integers(12))
    if kind <= 5:
        container[key] = extreme(rng, value)
    elif kind == 6:
        del container[key]
    elif kind == 7:
        container[key] = [value]
    elif kind == 8:
        for _ in range(int(rng.choice([3, 60]))):
            value = [value] if rng.random() < 0.5 else {"x": value}
        container[key] = value
    elif kind == 9:
        container[key] = str(value)
    elif isinstance(container, dict):
        name = str(extreme(rng, "")) if kind == 10 else f"{key}_"
        container[name] = container.pop(key)
    else:
        container[:] = container[::-1] if kind == 10 else container * int(rng.choice([2, 500]))

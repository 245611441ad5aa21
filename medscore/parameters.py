"""Types of method parameters with their ranges, and checks that values lie in the range.

A method is a frozen dataclass, and its settings are fields with the range in the annotation, such
as ``zeta: Share = 1.0``. These annotations are the source of the names, ranges and defaults that
the command line shows, presets accept and ``medscore tune`` searches
(:mod:`medscore.registry.parameters`).
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from functools import lru_cache
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

from medscore.errors import MedscoreError
from medscore.numeric import is_number, is_whole

Positive = Annotated[float, Gt(0), Lt(math.inf)]
"""A finite number greater than 0."""

NonNegative = Annotated[float, Ge(0), Lt(math.inf)]
"""A finite number, 0 or greater."""

Share = Annotated[float, Ge(0), Le(1)]
"""A number from 0 to 1."""

Count = Annotated[int, Ge(1), Le(1_000_000)]
"""A whole number, 1 or greater."""

Made = TypeVar("Made")

Bound = Ge | Gt | Le | Lt


@lru_cache(maxsize=256)
def hints_of(method: Any) -> dict[str, Any]:
    """The annotations of a class or function, by parameter.

    Args:
        method: a dataclass or a function.
    """
    try:
        return get_type_hints(method, include_extras=True)
    except NameError:  # a class defined inside a function: its annotations cannot be resolved
        return {}


def bounds_of(method: Any) -> dict[str, tuple[Bound, ...]]:
    """The bounds in the annotations of a class or function, by parameter.

    Args:
        method: a dataclass or a function whose annotations may hold ``annotated_types`` bounds.
    """
    found = {name: bounds_in(hint) for name, hint in hints_of(method).items()}
    return {name: bounds for name, bounds in found.items() if bounds}


def bounds_in(hint: Any) -> tuple[Bound, ...]:
    """The bounds in an annotation such as ``Annotated[float, Ge(0)] | None``.

    Args:
        hint: a resolved type hint.
    """
    if get_origin(hint) is Annotated:
        return tuple(extra for extra in hint.__metadata__ if isinstance(extra, Bound))
    return tuple(bound for part in get_args(hint) for bound in bounds_in(part))


def described(bounds: tuple[Bound, ...]) -> str:
    """Bounds in words, such as "in [0, 1]" or "greater than 0".

    Args:
        bounds: lower and upper bounds; infinite ones are left out.
    """
    low = next((b for b in bounds if isinstance(b, Ge | Gt)), None)
    high = next((b for b in bounds if isinstance(b, Le | Lt) and _limit(b) != math.inf), None)
    if low is not None and high is not None:
        left, right = "[" if isinstance(low, Ge) else "(", "]" if isinstance(high, Le) else ")"
        return f"in {left}{_limit(low):g}, {_limit(high):g}{right}"
    if low is not None:
        return f"{_limit(low):g} or greater" if isinstance(low, Ge) else f"> {_limit(low):g}"
    return "" if high is None else f"at most {_limit(high):g}"


def holds(value: int | float, bounds: tuple[Bound, ...]) -> bool:
    """True if a number satisfies all bounds; NaN satisfies none.

    Args:
        value: the number.
        bounds: lower and upper bounds.
    """
    tests = {
        Ge: lambda limit: value >= limit, Gt: lambda limit: value > limit,
        Le: lambda limit: value <= limit, Lt: lambda limit: value < limit,
    }  # fmt: skip
    return all(tests[type(bound)](_limit(bound)) for bound in bounds)


class NamedParameters:
    """A base of classes whose constructor refuses unknown parameters by a MedscoreError."""

    def __new__(cls: type[Made], *given: Any, **named: Any) -> Made:
        """An object that is not initialised yet.

        Args:
            given: arguments of the constructor by position.
            named: arguments of the constructor by name.

        Raises:
            MedscoreError: the constructor has no parameter of that name.
        """
        known = inspect.signature(cls).parameters
        takes_any = any(p.kind is p.VAR_KEYWORD for p in known.values())
        if unknown := [] if takes_any else [name for name in named if name not in known]:
            raise MedscoreError(
                f"{cls.__name__} has no parameter `{'`, `'.join(unknown)}`",
                hint=f"it has {', '.join(known) or 'none'}",
            )
        return object.__new__(cls)


def check_fields(method: Any) -> None:
    """Reject a dataclass instance with values outside the types or ranges of its annotations.

    Args:
        method: an instance of a dataclass.

    Raises:
        MedscoreError: as :func:`check_value`.
    """
    for field in dataclasses.fields(method):
        check_value(type(method), field.name, getattr(method, field.name))


def check_value(method: Any, name: str, value: object) -> None:
    """Reject a value of a parameter that is of another type than a number, or out of range.

    Args:
        method: a dataclass or a function with annotations.
        name: name of the parameter; one that is not annotated as a number is not checked.
        value: the value.

    Raises:
        MedscoreError: the message names the parameter, its value and what it must be.
    """
    hint = hints_of(method).get(name)
    kinds, limits = _kinds(hint), bounds_in(hint)
    expected = _expected(kinds)
    if not expected or (value is None and NoneType in kinds):
        return
    words = f"{expected} {described(limits)}".rstrip()
    if isinstance(value, bool) and bool in kinds:
        return
    if not is_number(value) or not (float in kinds or is_whole(value)) or kinds == {bool}:
        raise MedscoreError(f"`{name}` is {value!r:.80}", hint=f"use {words}")
    if not holds(value, limits):
        raise MedscoreError(f"`{name}` is {value:g}", hint=f"use {words}")


def _kinds(hint: Any) -> set[Any]:
    """The types in an annotation such as ``Annotated[float, Ge(0)] | None``."""
    if get_origin(hint) is Annotated:
        return _kinds(get_args(hint)[0])
    parts = get_args(hint)
    is_union = type(hint).__name__ in ("UnionType", "_UnionGenericAlias", "Union")
    return set().union(*map(_kinds, parts)) if is_union else {hint}


def _expected(kinds: set[Any]) -> str:
    """Numbers of these types in words; empty if other types than numbers are allowed."""
    named = kinds - {NoneType}
    if not named or named - {int, float, bool}:
        return ""
    if named == {bool}:
        return "True or False"
    return "a number" if float in named else "a whole number"


def _limit(bound: Bound) -> float:
    return float(getattr(bound, type(bound).__name__.lower()))

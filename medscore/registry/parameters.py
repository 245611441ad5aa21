"""The parameters of a method, read from its signature, annotations and docstring.

A method is a dataclass, a pydantic model or a function. What a number or a word can set on it is a
parameter; operators, measurements and time grids are bound by the library and are not.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from medscore.errors import MedscoreError
from medscore.parameters import bounds_in, described

BOUND = frozenset({"operator", "y", "noise_std", "sde", "kind"})
"""Parameters that the library sets itself, from the measurement and the prior."""

SIMPLE = (int, float, bool, str)


@dataclass(frozen=True)
class Parameter:
    """One parameter of a method.

    Attributes:
        name: as in Python and in ``--set``.
        annotation: its type, with bounds.
        default: value if it is not set.
        help: what it means.
    """

    name: str
    annotation: Any
    default: Any
    help: str

    @property
    def type(self) -> str:
        """The type and range in words, such as "a number in [0, 1]"."""
        plain = _plain(self.annotation)
        words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
        if get_origin(plain) is Literal:
            return "one of " + ", ".join(str(value) for value in get_args(plain))
        text, span = words.get(plain, "text"), described(bounds_in(self.annotation))
        return f"{text}{' ' if span.startswith('in') else ', '}{span}" if span else text

    def value(self, given: Any, where: str) -> Any:
        """A given value, converted and checked.

        Args:
            given: a number, a word, or its text.
            where: what the parameter belongs to, for the message.

        Raises:
            MedscoreError: another type, or out of range.
        """
        if given == self.default:
            return given
        optional = NoneType in get_args(self.annotation)
        if optional and isinstance(given, str) and given.lower() in ("none", "default"):
            return None
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(
                self.annotation, config=ConfigDict(allow_inf_nan=False)
            )
            return adapter.validate_python(given)
        except ValidationError:
            raise MedscoreError(
                f"{where}: {self.name} is {given!r}", hint=f"use {self.type}"
            ) from None


@lru_cache(maxsize=256)
def parameters_of(method: Callable[..., Any]) -> dict[str, Parameter]:
    """The settable parameters of a class or function, by name.

    Args:
        method: a dataclass, a pydantic model or a function.
    """
    hints = get_type_hints(method, include_extras=True)
    if not inspect.isclass(method):
        hints.pop("return", None)
    help_ = documented(method)
    found = {}
    for name, parameter in inspect.signature(method).parameters.items():
        hint = hints.get(name, parameter.annotation)
        if name in BOUND or not _is_simple(hint):
            continue
        if parameter.default is inspect.Parameter.empty and not inspect.isclass(method):
            continue  # the number of steps of a time grid
        extra = _field_metadata(method, name)
        annotation = Annotated[hint, *extra] if extra else hint
        found[name] = Parameter(name, annotation, parameter.default, help_.get(name, ""))
    return found


def values_for(method: Callable[..., Any], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Given parameters of a method, converted and checked.

    Args:
        method: a dataclass, a pydantic model or a function.
        given: values or their texts, by parameter.
        where: name of the method, for the message.

    Raises:
        MedscoreError: a parameter that the method does not have, or a bad value.
    """
    known = parameters_of(method)
    for name in given:
        if name not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes no parameters"
            raise MedscoreError(f"{where} has no parameter {name!r}", hint=takes)
    return {name: known[name].value(value, where) for name, value in given.items()}


def documented(method: Callable[..., Any]) -> dict[str, str]:
    """The texts of the parameters under ``Args:`` or ``Attributes:`` of a docstring, by name.

    Args:
        method: a class or function; a class without such a section is read from its bases.
    """
    found: dict[str, str] = {}
    lines = (inspect.getdoc(method) or "").splitlines()
    inside, name = False, ""
    for line in lines:
        if line.rstrip() in ("Args:", "Attributes:"):
            inside = True
        elif inside and line and not line.startswith(" "):
            inside = False
        elif inside and (start := re.match(r"    \*{0,2}(\w+): (.*)", line)):
            name = start[1]
            found[name] = start[2].strip()
        elif inside and line.strip() and name:
            found[name] = f"{found[name]} {line.strip()}"
    return found


def _plain(hint: Any) -> Any:
    """An annotation without bounds and without None."""
    if get_origin(hint) is Annotated:
        return _plain(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        others = [part for part in get_args(hint) if part is not NoneType]
        return _plain(others[0]) if len(others) == 1 else hint
    return hint


def _is_simple(hint: Any) -> bool:
    plain = _plain(hint)
    return plain in SIMPLE or get_origin(plain) is Literal


def _field_metadata(method: Any, name: str) -> tuple[Any, ...]:
    """Bounds that a pydantic field states, which the annotation does not hold."""
    fields = getattr(method, "model_fields", {})
    return tuple(fields[name].metadata) if name in fields else ()

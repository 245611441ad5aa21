"""The base of all specifications that are read from files: unknown keys are refused."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from medscore.errors import MedscoreError

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]

MOST_FAULTS = 8
"""Largest number of faults that one message states."""

UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
"""What pydantic calls the fault of an unknown key."""

LARGEST_SIDE = 8192
"""Largest side of an image in pixels that a specification can ask for."""


Side = Annotated[int, Field(gt=0, le=LARGEST_SIDE)]
"""A side of an image in pixels."""


class Strict(BaseModel):
    """Base model: frozen, with finite numbers only, and without undeclared keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def faults(error: ValidationError, spec: Any = None, whole: str = "") -> str:
    """The faults of a specification, each with its key, on one line.

    Args:
        error: what validation raised.
        spec: class of the specification, whose keys are offered in place of unknown ones.
        whole: name of the file, for faults that concern no single key.
    """
    return listed(list(dict.fromkeys(_fault(each, spec, whole) for each in error.errors())))


def listed(found: Sequence[str]) -> str:
    """The first faults on one line, and how many more there are.

    Args:
        found: all faults.
    """
    more = [f"and {len(found) - MOST_FAULTS} more"] if len(found) > MOST_FAULTS else []
    return "; ".join([*found[:MOST_FAULTS], *more])


def nearest(key: str, known: Iterable[str], others: Mapping[str, str] | None = None) -> str:
    """The known key that an unknown one may mean; empty if none is like it.

    Args:
        key: the unknown key.
        known: the known keys.
        others: names of other programs, in lower case with underscores, and the keys they mean.
    """
    known, plain = list(known), key.lower().replace("-", "_").replace(" ", "_")
    meant = (others or {}).get(plain, "")
    return meant if meant in known else (difflib.get_close_matches(plain, known, 1) or [""])[0]


def unknown_key(key: str, near: str = "") -> str:
    """What a message says of an unknown key.

    Args:
        key: the key, with those that lead to it.
        near: the known key that may be meant, as :func:`nearest` finds it.
    """
    return f"{key[:100]}: there is no such key" + (f", did you mean {near!r}?" if near else "")


def _fault(fault: Any, spec: Any, whole: str) -> str:
    """One fault with its key."""
    key = ".".join(str(part) for part in fault["loc"]) or whole
    what = fault["msg"].removeprefix("Value error, ")
    if fault["type"].startswith(("greater_than", "less_than")):
        what += f", not {fault['input']!r:.40}"
    if fault["type"] in UNKNOWN:
        *above, last = fault["loc"]
        return unknown_key(key, nearest(str(last), known_keys(spec, above)) if spec else "")
    return f"{key}: {what}" if key else what


def known_keys(spec: Any, place: Sequence[Any] = ()) -> list[str]:
    """The keys that a specification has at a place.

    Args:
        spec: class of the specification.
        place: keys, indices and names of kinds that lead to the place.
    """
    here = list(_classes(spec))
    for part in place:
        inner = [_fields(one)[part] for one in here if part in _fields(one)]
        if inner:
            here = [one for annotation in inner for one in _classes(annotation)]
        elif isinstance(part, str):  # the name of a class, or of a kind
            here = [one for one in here if part in _names(one)] or here
    return sorted({name for one in here for name in _fields(one)})


def _classes(annotation: Any) -> Iterator[Any]:
    """The classes with fields in an annotation, such as ``tuple[TaskSpec, ...] | None``."""
    if isinstance(annotation, type) and _fields(annotation):
        yield annotation
    for inner in get_args(annotation):
        yield from _classes(inner)


def _fields(kind: Any) -> dict[str, Any]:
    """The annotation of each field of a model or dataclass."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        return {one.name: hints[one.name] for one in fields(kind) if one.init}
    return {}


def _names(kind: Any) -> tuple[Any, ...]:
    return (kind.__name__, *get_args(_fields(kind).get("kind")))


Spec = TypeVar("Spec", bound=Strict)


def validated(spec: type[Spec], content: Any, path: str | Path) -> Spec:
    """Validate the content of a file.

    Args:
        spec: specification that the content must satisfy.
        content: parsed content of the file.
        path: file to name in the error.

    Raises:
        MedscoreError: a key is unknown, missing or of the wrong type.
    """
    try:
        return spec.model_validate(content)
    except ValidationError as error:
        hint = "correct that key" if error.error_count() == 1 else "correct these keys"
        raise MedscoreError(faults(error, spec, "the file"), where=path, hint=hint) from None

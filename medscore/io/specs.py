"""The base of all specifications that are read from files: unknown keys are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from medscore.errors import MedscoreError

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]

LARGEST_SIDE = 8192
"""Largest side of an image in pixels that a specification can ask for."""


class Strict(BaseModel):
    """Base model: frozen, with finite numbers only, and without undeclared keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def first_fault(error: ValidationError, whole: str = "") -> str:
    """The first fault of a specification, with its key.

    Args:
        error: what validation raised.
        whole: name of the file, for faults that concern no single key.
    """
    fault = error.errors()[0]
    key = ".".join(str(part) for part in fault["loc"]) or whole
    what = fault["msg"].removeprefix("Value error, ")
    if fault["type"].startswith(("greater_than", "less_than")):
        what += f", not {fault['input']!r:.40}"
    return f"{key}: {what}" if key else what


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
        what = first_fault(error, whole="the file")
        raise MedscoreError(what, where=path, hint="correct that key") from None

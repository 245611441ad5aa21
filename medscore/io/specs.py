"""The base of every specification that is read from a file: unknown keys are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from medscore.errors import MedscoreError

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Strict(BaseModel):
    """Frozen, finite numbers only, and no key that is not declared."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def first_fault(error: ValidationError, whole: str = "") -> str:
    """The first thing wrong, with its key; ``whole`` names the file where no one key is wrong."""
    fault = error.errors()[0]
    key = ".".join(str(part) for part in fault["loc"]) or whole
    return f"{key}: {fault['msg']}" if key else fault["msg"].removeprefix("Value error, ")


def read_yaml(path: Path, *, like: str = "configs/train/ct-128.yaml") -> Any:
    """The content of a YAML file.

    Raises:
        MedscoreError: no such file, or not YAML; ``like`` is one that works.
    """
    try:
        return yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise MedscoreError(
            f"cannot be read as YAML ({str(error).splitlines()[0]})",
            where=path,
            hint=f"see {like} for a working one",
        ) from error


Spec = TypeVar("Spec", bound=Strict)


def validated(spec: type[Spec], content: Any, path: Path) -> Spec:
    """What a file says, as a specification.

    Raises:
        MedscoreError: an unknown, missing or ill-typed key.
    """
    try:
        return spec.model_validate(content)
    except ValidationError as error:
        what = first_fault(error, whole="the file")
        raise MedscoreError(what, where=path, hint="correct that key") from None

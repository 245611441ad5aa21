"""The base of every specification that is read from a file: unknown keys are refused."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError


class Strict(BaseModel):
    """Frozen, finite numbers only, and no key that is not declared."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def first_fault(error: ValidationError, whole: str = "") -> str:
    """The first thing wrong, with its key; ``whole`` names the file where no one key is wrong."""
    fault = error.errors()[0]
    key = ".".join(str(part) for part in fault["loc"]) or whole
    return f"{key}: {fault['msg']}" if key else fault["msg"].removeprefix("Value error, ")

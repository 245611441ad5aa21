"""What identifies a training run: recipe, seed, batch and images; a saved state must share it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from torch import Tensor

from medscore.training.recipe import TrainingRecipe

LATER = (
    "split", "unusable", "pixel_mm", "class_dropout", "sources.contrast", "crops.gain",
    "network.classes",
)  # fmt: skip
"""Keys that were added later; at their defaults they are no part of the identity, so that earlier
training states stay valid."""


def identity_of(recipe: TrainingRecipe, images: Iterable[Tensor]) -> dict[str, str]:
    """Entries that a saved state must share with a run, by name.

    Args:
        recipe: recipe of the run.
        images: its training images, of one size or of several.
    """
    digest = hashlib.sha256()
    for image in images:
        digest.update(image.contiguous().numpy().data)
    left_out: dict[str | int, Any] = dict.fromkeys(("plan", "name", "licence", "folder"), True)
    exclude: Any = left_out | _later(recipe)
    settings = recipe.model_dump_json(exclude=exclude)
    return {
        "recipe": hashlib.sha256(settings.encode()).hexdigest()[:12],
        "seed": str(recipe.plan.seed),
        "batch": str(recipe.plan.batch),
        "images": digest.hexdigest()[:12],
    }


def _later(spec: BaseModel, place: str = "") -> dict[str | int, Any]:
    """The keys of ``LATER`` that have their defaults, as pydantic's ``exclude``."""
    found: dict[str | int, Any] = {}
    for name, field in type(spec).model_fields.items():
        value = getattr(spec, name)
        if place + name in LATER and value == field.default:
            found[name] = True
        elif inner := _later_in(value, f"{place}{name}."):
            found[name] = inner
    return found


def _later_in(value: object, place: str) -> dict[str | int, Any]:
    """The same of a specification, or of each of several."""
    if isinstance(value, BaseModel):
        return _later(value, place)
    parts: tuple[object, ...] = value if isinstance(value, tuple) else ()
    inside: dict[str | int, Any] = {i: _later_in(part, place) for i, part in enumerate(parts)}
    return {i: inner for i, inner in inside.items() if inner}

"""Write docs/yaml.md: every key of every YAML file, from the specifications that read them.

Run it after a change of a specification; a test fails until then. What a key means is the sentence
in the docstring of its class.

    python benchmarks/yaml_keys.py
"""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from medscore.datasets.raw.projections import ScanGeometry
from medscore.evaluation.config import EvaluationSpec
from medscore.priors.importers.contract import ImportContract
from medscore.registry.parameters import documented
from medscore.registry.presets import Preset
from medscore.registry.settings import Settings
from medscore.training.classifier import ClassifierRecipe
from medscore.training.dequantizer import DequantizerRecipe
from medscore.training.head import HeadRecipe
from medscore.training.native_recipe import NativeRecipe
from medscore.training.neighbours import NeighboursRecipe
from medscore.training.pictures import PictureRecipe
from medscore.training.recipe import PriorRecipe
from medscore.training.supervised import SupervisedRecipe
from medscore.tuning.config import TuningSpec

PAGE = Path(__file__).resolve().parent.parent / "docs" / "yaml.md"

FILES: dict[str, tuple[type, str]] = {
    "Recipe of a prior of CT or MR slices": (
        PriorRecipe,
        "Read by `medscore train`; `medscore train --init FOLDER -o recipe.yaml` writes one.",
    ),
    "Recipe of a prior for any matrix": (NativeRecipe, "Read by `medscore train`."),
    "Recipe of a supervised network": (SupervisedRecipe, "Read by `medscore train`."),
    "Recipe of a dequantization flow": (DequantizerRecipe, "Read by `medscore train`."),
    "Recipe of a prior of other images": (PictureRecipe, "Read by `medscore train`."),
    "Recipe of a learned covariance": (HeadRecipe, "Read by `medscore train`."),
    "Recipe of a 2.5-D network": (NeighboursRecipe, "Read by `medscore train`."),
    "Recipe of a classifier": (ClassifierRecipe, "Read by `medscore train`."),
    "Comparison": (EvaluationSpec, "Read by `medscore evaluate`."),
    "Search": (TuningSpec, "Read by `medscore tune`."),
    "Preset": (Preset, "Read by `medscore recon --preset`."),
    "Geometry of a CT scan": (ScanGeometry, "Read by `medscore measure --geometry`."),
    "Contract of an imported prior": (ImportContract, "Read by `medscore priors import`."),
}
"""Title, class and reader of each kind of file."""

HEAD = """\
# The keys of all YAML files

<!-- Written by benchmarks/yaml_keys.py from the specifications in the source: do not edit. -->

Keys without a default are required. A file with faults is refused with all of them in one line; an
unknown key is named with the nearest known one.
"""

SAME = re.compile(r"see :class:`[\w.]*\bSettings`")
"""What stands in place of a meaning that is told elsewhere."""

SIMPLE = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Any: "any value",
}


def page() -> str:
    """The text of the page."""
    parts, told = [HEAD], dict[type, None]()
    for title, (kind, reader) in FILES.items():
        parts += [f"## {title}\n", f"{reader}\n", table(kind)]
        told[kind] = None
    inner = dict.fromkeys(one for kind in told for one in _inside(kind) if one not in told)
    parts.append("## Parts of these files\n")
    for kind in sorted(inner, key=lambda one: one.__name__):
        parts += [f"### {kind.__name__}\n", f"{_summary(kind)}\n", table(kind)]
    return "\n".join(parts)


def table(kind: type) -> str:
    """The keys of a class as a Markdown table.

    Args:
        kind: model or dataclass.
    """
    meanings = _meanings(kind)
    lines = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    for name, annotation, default, limits in _keys(kind):
        value = _named(annotation) + limits
        lines.append(f"| `{name}` | {value} | {default} | {_plain(meanings[name])} |")
    return "\n".join(lines) + "\n"


def _keys(kind: type) -> Iterator[tuple[str, Any, str, str]]:
    """Name, annotation, default and limits of each key."""
    if issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            yield name, field.annotation, _shown(field.get_default(call_default_factory=True)), (
                _limits(field.metadata)
            )  # fmt: skip
    elif dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        for one in dataclasses.fields(kind):
            default = one.default
            if default is dataclasses.MISSING:
                made = one.default_factory
                default = PydanticUndefined if made is dataclasses.MISSING else made()
            yield one.name, hints[one.name], _shown(default), ""


def _meanings(kind: type) -> dict[str, str]:
    """What the docstrings of a class and its bases say about each attribute."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        found |= documented(base) if base.__doc__ else {}
    return {
        name: documented(Settings)[name] if SAME.search(said) else said
        for name, said in found.items()
    }


def _summary(kind: type) -> str:
    """The first sentence of a docstring."""
    return _plain(" ".join((kind.__doc__ or "").partition("\n\n")[0].split()))


def _inside(kind: type) -> Iterator[type]:
    """The classes of the keys of a class, at any depth."""
    for _, annotation, _, _ in _keys(kind):
        for one in _classes(annotation):
            yield one
            yield from _inside(one)


def _classes(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type) and (
        issubclass(annotation, BaseModel) or dataclasses.is_dataclass(annotation)
    ):
        yield annotation
    for inner in get_args(annotation):
        yield from _classes(inner)


def _named(annotation: Any) -> str:
    """An annotation in words."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _named(inner[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin in (Union, types.UnionType):
        words = [_named(one) for one in inner if one is not type(None)]
        return " or ".join(dict.fromkeys(words))
    if origin is tuple and inner[-1] is Ellipsis:
        return f"list of {_named(inner[0])}"
    if origin is tuple:
        return f"list of {len(inner)}: {_named(inner[0])}"
    if origin is list:
        return f"list of {_named(inner[0])}"
    if origin is dict:
        return f"mapping to {_named(inner[1])}"
    if annotation in SIMPLE:
        return SIMPLE[annotation]
    return f"[{annotation.__name__}](#{annotation.__name__.lower()})"


def _limits(metadata: list[Any]) -> str:
    signs = {Ge: ("ge", "≥"), Gt: ("gt", ">"), Le: ("le", "≤"), Lt: ("lt", "<")}
    found = [
        f"{sign} {getattr(one, name)}"
        for one in metadata
        for kind, (name, sign) in signs.items()
        if isinstance(one, kind)
    ]
    return f", {' and '.join(found)}" if found else ""


def _shown(default: Any) -> str:
    if default is PydanticUndefined:
        return ""
    if default is None:
        return "none"
    if isinstance(default, BaseModel) or dataclasses.is_dataclass(default):
        return "its defaults"
    if default in ((), {}):
        return "empty"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return f"`[{', '.join(map(str, default))}]`"
    return f"`{default}`"


def _plain(text: str) -> str:
    """A docstring's sentence as Markdown in a table."""
    text = re.sub(r":\w+:`~?[\w.]*?(\w+)`", r"`\1`", text).replace("``", "`")
    text = re.sub(r":math:`([^`]*)`", r"\1", text).replace("|", "\\|")
    return text[:1].upper() + text[1:]


if __name__ == "__main__":
    PAGE.write_text(page())

"""A benchmark in parts, each a module whose docstring says on the page what it measures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from number import Number, from_json, machine, table


def numbers(name: str, part: str, settings: Any) -> Iterator[Number]:
    """The numbers of a part.

    Args:
        name: name of the benchmark; the part is the module ``NAME_PART``.
        part: name of the part.
        settings: settings of the measurement.
    """
    yield from import_module(f"{name}_{part}").numbers(settings)


def page(name: str, intro: str, parts: Mapping[str, str], kept: Mapping[str, Any]) -> str:
    """The Markdown page of the results.

    Args:
        name: name of the benchmark.
        intro: what stands before the results.
        parts: names of the parts with their titles.
        kept: the numbers of the finished parts, as the JSON file holds them.
    """
    lines = [machine(), ""]
    for part, title in parts.items():
        if part not in kept:
            continue
        said = str(import_module(f"{name}_{part}").__doc__).replace("``", "`").strip()
        lines += [f"## {title}", "", said, "", *table(from_json(kept[part])), ""]
    return intro + "\n".join(lines)

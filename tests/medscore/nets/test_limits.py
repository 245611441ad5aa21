"""No specification can ask for a network of a million layers."""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest

import medscore
from medscore.io.specs import Strict


def builders() -> Iterator[type[Strict]]:
    """All specifications that build something."""
    for module in pkgutil.walk_packages(medscore.__path__, "medscore."):
        if not module.name.endswith("triton_kernels"):
            importlib.import_module(module.name)
    waiting = [Strict]
    while waiting:
        spec = waiting.pop()
        waiting += spec.__subclasses__()
        if hasattr(spec, "build") and spec.__module__.startswith("medscore."):
            yield spec


def unlimited(schema: Any, where: str = "") -> Iterator[str]:
    """Places of whole numbers without a maximum."""
    if isinstance(schema, list):
        for i, part in enumerate(schema):
            yield from unlimited(part, f"{where}/{i}")
    elif isinstance(schema, dict):
        known = {"maximum", "exclusiveMaximum", "enum", "const"} & set(schema)
        if schema.get("type") == "integer" and not known:
            yield where
        for name, part in schema.items():
            if name not in ("default", "examples"):
                yield from unlimited(part, f"{where}/{name}")


def test_whole_numbers_of_what_is_built_have_a_maximum() -> None:
    found = {
        f"{spec.__name__}{place}"
        for spec in builders()
        for place in unlimited(spec.model_json_schema().get("properties", {}))
    }
    assert found <= {
        # positions in lists of levels, which are checked against the number of levels
        "NCSNPPSpec/attention/items",
        # times or counts that nothing is built from
        "DiffusersUNetSpec/freq_shift",
    }


@pytest.mark.parametrize(
    ("schema", "count"),
    [
        ({"n": {"type": "integer"}}, 1),
        ({"n": {"type": "integer", "maximum": 3}}, 0),
        ({"n": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}, 1),
        ({"n": {"type": "array", "items": {"type": "integer", "exclusiveMaximum": 9}}}, 0),
    ],
)
def test_unlimited_numbers_are_found(schema: dict[str, Any], count: int) -> None:
    assert len(list(unlimited(schema))) == count

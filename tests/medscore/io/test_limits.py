"""No specification can ask for a network of a million layers, or for iterations without end."""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest

import medscore
from medscore.io.specs import Strict

UNLIMITED = {
    "channel", "seed",  # a choice
    "patients", "slices", "count", "preprocessing",  # a record
    "attention", "freq_shift",  # checked against the levels, and only added
    "values",  # of any parameter, which has its own range
}  # fmt: skip
"""Names of whole numbers that nothing is repeated by."""

LATER = {
    "Preset": {"samples", "steps"}, "Provenance": {"steps"}, "ImportedProvenance": {"steps"},
    "Condition": {"rows", "columns"}, "Family": {"method", "samples", "nfe"},
    "PatientErrors": {"pixels"},
}  # fmt: skip
"""Those that are records, or whose range is checked where they are used, by specification."""


def specifications() -> Iterator[type[Strict]]:
    for module in pkgutil.walk_packages(medscore.__path__, "medscore."):
        if not module.name.endswith("triton_kernels"):
            importlib.import_module(module.name)
    waiting = [Strict]
    while waiting:
        spec = waiting.pop()
        waiting += spec.__subclasses__()
        if spec.__module__.startswith("medscore.") and spec is not Strict:
            yield spec


def has_unlimited(schema: Any) -> bool:
    """Whether a field can hold a whole number without a maximum."""
    if isinstance(schema, list):
        return any(map(has_unlimited, schema))
    if not isinstance(schema, dict):
        return False
    known = {"maximum", "exclusiveMaximum", "enum", "const"} & set(schema)
    parts = [part for name, part in schema.items() if name not in ("default", "examples")]
    return (schema.get("type") == "integer" and not known) or has_unlimited(parts)


def test_whole_numbers_have_a_maximum() -> None:
    found = {
        (spec.__name__, name)
        for spec in specifications()
        for name, field in spec.model_json_schema().get("properties", {}).items()
        if has_unlimited(field)
    }
    assert not {
        (spec, name) for spec, name in found if name not in UNLIMITED | LATER.get(spec, set())
    }


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "integer"}, True),
        ({"type": "integer", "maximum": 3}, False),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, True),
        ({"type": "array", "items": {"type": "integer", "exclusiveMaximum": 9}}, False),
    ],
)
def test_unlimited_numbers_are_found(schema: dict[str, Any], expected: bool) -> None:
    assert has_unlimited(schema) == expected

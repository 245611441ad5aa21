"""Public parameters that docstrings document, in functions, methods, dataclasses and models."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from import_graph import modules

from medscore.registry.parameters import documented

SKIPPED = ("medscore.operators.ct.backends.triton_kernels",)
"""Modules that need an optional dependency: GPU kernels."""


def parameters() -> dict[str, bool]:
    """Map the full name of each public parameter to whether it is documented.

    A parameter is public if module, class, function and parameter are, and the method does not
    override one that documents it. Fields of dataclasses and models count as parameters.
    """
    found: dict[str, bool] = {}
    for name in modules():
        if name in SKIPPED or name.startswith("medscore.cli"):
            continue  # the command line documents its options in their help
        found |= dict(_of_module(importlib.import_module(name)))
    return found


def _of_module(module: ModuleType) -> Iterator[tuple[str, bool]]:
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        where = f"{module.__name__}.{name}"
        if inspect.isclass(value):
            yield from _of_class(value, where)
        elif inspect.isfunction(value):
            yield from _of_function(value, where, documented(value))


def _of_class(cls: type, where: str) -> Iterator[tuple[str, bool]]:
    texts = documented(cls)
    fields = _fields(cls)
    for name in fields:
        yield f"{where}.{name}", name in texts
    init = vars(cls).get("__init__")
    own = inspect.isfunction(init) and init.__qualname__.startswith(f"{cls.__qualname__}.")
    if init is not None and own and not fields:
        yield from _of_function(init, where, {**documented(init), **texts})
    for name, value in vars(cls).items():
        method = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        inherited = any(name in vars(base) for base in cls.__mro__[1:])
        if name.startswith("_") or inherited or not inspect.isfunction(method):
            continue
        yield from _of_function(method, f"{where}.{name}", documented(method))


def _fields(cls: Any) -> list[str]:
    """Fields that a dataclass or model declares itself."""
    own = vars(cls).get("__annotations__", {})
    if dataclasses.is_dataclass(cls):
        known = {field.name for field in dataclasses.fields(cls) if field.init}
    else:
        known = set(getattr(cls, "model_fields", {}))
    return [name for name in own if name in known and not name.startswith("_")]


def _of_function(function: Any, where: str, texts: dict[str, str]) -> Iterator[tuple[str, bool]]:
    for name in inspect.signature(function).parameters:
        if name not in ("self", "cls") and not name.startswith("_"):
            yield f"{where}({name})", name in texts


if __name__ == "__main__":
    every = parameters()
    for name, is_documented in every.items():
        if not is_documented:
            print(name)
    print(f"{sum(every.values())} of {len(every)} documented")

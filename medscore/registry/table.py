"""A table of methods by name, which are imported when they are first used."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from medscore.errors import MedscoreError
from medscore.registry.parameters import Parameter, parameters_of, values_for


@dataclass(frozen=True)
class Table(Mapping[str, Callable[..., Any]]):
    """A mapping from names of methods to their classes or functions.

    Reading the names imports nothing, so the command line can list them without delay.

    Attributes:
        kind: kind of the methods, such as "sampler".
        places: "module:attribute" of each method, by name.
    """

    kind: str
    places: dict[str, str]

    def __getitem__(self, name: str) -> Callable[..., Any]:
        if name not in self.places:
            raise MedscoreError(
                f"no {self.kind} {name!r}", hint=f"use one of: {', '.join(self.places)}"
            )
        module, _, attribute = self.places[name].partition(":")
        found: Callable[..., Any] = getattr(import_module(module), attribute)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def __contains__(self, name: object) -> bool:
        return name in self.places

    def parameters(self, name: str) -> dict[str, Parameter]:
        """The parameters of a method, by name.

        Args:
            name: name of the method.

        Raises:
            MedscoreError: no such method.
        """
        return parameters_of(self[name])

    def convert(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Convert and check the values of a method's parameters.

        Args:
            name: name of the method.
            given: values or their texts, by parameter.

        Raises:
            MedscoreError: no such method or parameter, or an invalid value.
        """
        return values_for(self[name], given, f"{self.kind} {name}")

    def source(self, name: str) -> str:
        """The first paragraph on a method, which names the method and its source.

        A class has a module of its own, which is quoted; a function shares its module with others,
        and its own docstring is quoted.

        Args:
            name: name of the method.
        """
        method = self[name]
        text = inspect.getdoc(inspect.getmodule(method) if inspect.isclass(method) else method)
        return " ".join((text or "").split("\n\n")[0].split())

"""Samplers, time grids and conditioners from their names and parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from medscore.conditioners.base import Conditioner
from medscore.conditioners.binding import ConditionerFactory, Unbound, bind
from medscore.errors import MedscoreError
from medscore.operators.base import Operator
from medscore.registry.methods import CONDITIONERS, GRIDS, SAMPLERS
from medscore.samplers.base import Sampler
from medscore.samplers.grids import Grid


def build_sampler(name: str, parameters: Mapping[str, Any]) -> Sampler:
    """A sampler.

    Args:
        name: its name.
        parameters: its parameters, by name without the owner.

    Raises:
        MedscoreError: no such sampler or parameter, or a value out of range.
    """
    made: Sampler = SAMPLERS[name](**SAMPLERS.convert(name, parameters))
    return made


def build_grid(name: str, parameters: Mapping[str, Any]) -> Grid:
    """A time grid: a function of the SDE and the number of steps.

    Args:
        name: its name.
        parameters: its parameters, by name without the owner.

    Raises:
        MedscoreError: no such grid or parameter, or a value out of range.
    """
    return partial(GRIDS[name], **GRIDS.convert(name, parameters))


def build_conditioner(name: str, parameters: Mapping[str, Any]) -> ConditionerFactory:
    """A factory of conditioners for batches.

    Args:
        name: name of the conditioner.
        parameters: its parameters, by name without the owner.

    Raises:
        MedscoreError: no such conditioner or parameter, or a value out of range.
    """
    kind: Callable[..., Conditioner] = CONDITIONERS[name]
    values = CONDITIONERS.convert(name, parameters)
    return checked_factory(partial(kind, **values), f"conditioner {name}")


def checked_factory(given: Unbound, what: str) -> ConditionerFactory:
    """A factory whose refusals are reported as errors of the user's.

    Args:
        given: what :func:`~medscore.conditioners.binding.bind` accepts.
        what: what messages call it.

    Raises:
        MedscoreError: as :func:`~medscore.conditioners.binding.bind`.
    """
    make = bind(given)

    def checked(operator: Operator, y: Tensor, noise_std: float) -> Conditioner:
        try:
            return make(operator, y, noise_std)
        except ValueError as error:
            raise MedscoreError(f"{what}: {error}", hint="use diffpir, dds or proximal") from error

    return checked

"""Construction of samplers, time grids and conditioners from names and parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from medscore.conditioners.base import Conditioner
from medscore.conditioners.binding import ConditionerFactory, Unbound, bind
from medscore.errors import MedscoreError
from medscore.operators.base import Operator
from medscore.priors.across import AcrossSlices, Independent
from medscore.registry.methods import ACROSS_SLICES, CONDITIONERS, GRIDS, SAMPLERS
from medscore.samplers.base import Sampler
from medscore.samplers.grids import Grid
from medscore.sdes.base import SDE


def build_sampler(name: str, parameters: Mapping[str, Any]) -> Sampler:
    """A sampler from its name and parameters.

    Args:
        name: name of the sampler.
        parameters: its parameters, by name without the owner.

    Raises:
        MedscoreError: no such sampler or parameter, or a value out of range.
    """
    made: Sampler = SAMPLERS[name](**SAMPLERS.convert(name, parameters))
    return made


def build_grid(name: str, parameters: Mapping[str, Any]) -> Grid:
    """A time grid from its name and parameters, as a function of the SDE and the number of steps.

    Args:
        name: name of the time grid.
        parameters: its parameters, by name without the owner.

    Raises:
        MedscoreError: no such grid or parameter, or a value out of range.
    """
    return partial(GRIDS[name], **GRIDS.convert(name, parameters))


def given_grid(grid: Grid | str, parameters: Mapping[str, Any]) -> Grid:
    """A time grid given by name, with its parameters, or as a function.

    Args:
        grid: name of the time grid, or a function of the SDE and the number of steps.
        parameters: parameters of a grid that is given by name.

    Raises:
        MedscoreError: it is neither, or as :func:`build_grid`.
    """
    made = build_grid(grid, parameters) if isinstance(grid, str) else grid
    if not callable(made):
        raise MedscoreError(
            f"`grid` is {grid!r:.80}", hint="use a name, or a function of SDE and number of steps"
        )
    return made


def times_of(grid: Grid, sde: SDE, steps: int) -> Tensor:
    """The decreasing times of a grid, (steps + 1,).

    Args:
        grid: the time grid.
        sde: the forward diffusion.
        steps: number of steps.

    Raises:
        MedscoreError: invalid parameters of the grid, or a function that returns anything else.
    """
    try:
        times = grid(sde, steps)
    except ValueError as error:
        raise MedscoreError(f"grid: {error}", hint="use other parameters") from error
    if not isinstance(times, Tensor) or times.ndim != 1 or not bool((times.diff() < 0).all()):
        raise MedscoreError(
            f"`grid` returned {times!r:.80}", hint="return a tensor of decreasing times"
        )
    return times


def check_owners(parameters: Iterable[str], methods: Mapping[str, object]) -> None:
    """Reject parameters of methods that are given as objects, which have parameters of their own.

    Args:
        parameters: dotted names of parameters, such as ``sampler.eta``.
        methods: sampler, conditioner and grid as they are given; None for the default's name.

    Raises:
        MedscoreError: a parameter of a method that is no name.
    """
    for dotted in parameters:
        owner = dotted.partition(".")[0]
        if not isinstance(methods.get(owner), str | None):
            raise MedscoreError(
                f"`parameters` has {dotted}, but `{owner}` is an object",
                hint=f"set it on the object, use the name of a {owner}, or leave it out",
            )


def build_conditioner(name: str, parameters: Mapping[str, Any]) -> ConditionerFactory:
    """A factory that makes the conditioner of a batch, from its name and parameters.

    Args:
        name: name of the conditioner.
        parameters: its parameters, by name without the owner.

    Raises:
        MedscoreError: no such conditioner or parameter, or a value out of range.
    """
    kind: Callable[..., Conditioner] = CONDITIONERS[name]
    values = CONDITIONERS.convert(name, parameters)
    return checked_factory(partial(kind, **values), f"conditioner {name}")


def build_across_slices(name: str, parameters: Mapping[str, Any]) -> AcrossSlices | None:
    """A rule that couples the slices of volumes; None if every slice is by itself.

    Args:
        name: name of the rule.
        parameters: its parameters, by name without the owner.

    Raises:
        MedscoreError: no such rule or parameter, or a value out of range.
    """
    made: AcrossSlices = ACROSS_SLICES[name](**ACROSS_SLICES.convert(name, parameters))
    return None if isinstance(made, Independent) else made


def checked_factory(given: Unbound, what: str) -> ConditionerFactory:
    """A factory whose errors are raised as :class:`~medscore.errors.MedscoreError`.

    Args:
        given: an unbound conditioner, as for :func:`~medscore.conditioners.binding.bind`.
        what: name of the conditioner in error messages.

    Raises:
        MedscoreError: as :func:`~medscore.conditioners.binding.bind`.
    """
    make = bind(given)

    def checked(operator: Operator, y: Tensor, noise_std: float) -> Conditioner:
        try:
            return make(operator, y, noise_std)
        except ValueError as error:
            raise MedscoreError(
                f"{what}: {error}", hint="use other parameters or another conditioner"
            ) from error

    return checked

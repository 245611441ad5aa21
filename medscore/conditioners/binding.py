"""Binding of a conditioner to the operator and the measurements of a batch.

The operator and the measurements of a batch are known only during a reconstruction, scaled to the
prior's range and, for noisy data, to unit noise variance. Users therefore pass a conditioner
unbound: as a class, as a class with settings, or as a function.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial

from torch import Tensor

from medscore.conditioners.base import Conditioner
from medscore.errors import MedscoreError
from medscore.operators.base import Operator

ConditionerFactory = Callable[[Operator, Tensor, float], Conditioner]
"""Makes a conditioner from an operator, its measurements and their noise standard deviation."""

Unbound = Conditioner | Callable[..., Conditioner]


def bind(given: Unbound) -> ConditionerFactory:
    """A factory that makes the conditioner of a batch.

    Args:
        given: a conditioner class; ``partial(Class, zeta=0.3)`` or
            ``Class.with_settings(zeta=0.3)``; a function with the parameters ``operator``, ``y``
            and optionally ``noise_std``; or a conditioner without an operator, such as guidance.

    Raises:
        MedscoreError: a conditioner that is already bound to an operator, or a function with other
            parameters.
    """
    if isinstance(given, Conditioner):
        if hasattr(given, "operator"):
            name = type(given).__name__
            raise MedscoreError(
                f"the conditioner {name} is already bound to an operator",
                hint=f"use the class {name}, or {name}.with_settings(...)",
            )
        return lambda operator, y, noise_std: given
    try:
        known = inspect.signature(given).parameters
    except (TypeError, ValueError) as error:
        raise MedscoreError(
            f"{given!r} is not a conditioner", hint="use a conditioner class or a function"
        ) from error
    missing = {"operator", "y"} - set(known)
    if missing:
        raise MedscoreError(
            f"the conditioner {_name(given)} has no parameter {' and '.join(sorted(missing))}",
            hint="use a function of operator and y, and of noise_std for noisy data",
        )

    def make(operator: Operator, y: Tensor, noise_std: float) -> Conditioner:
        extra = {"noise_std": noise_std} if "noise_std" in known else {}
        made = given(operator=operator, y=y, **extra)
        if not isinstance(made, Conditioner):
            raise MedscoreError(
                f"the conditioner {_name(given)} returned {made!r:.80}", hint="return a Conditioner"
            )
        return made

    return make


def _name(given: object) -> str:
    found = given.func if isinstance(given, partial) else given
    return str(getattr(found, "__name__", found))

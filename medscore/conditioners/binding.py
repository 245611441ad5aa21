"""From what a user gives as a conditioner to a conditioner of one batch.

Operator and measurements of a batch are known only while a reconstruction runs, in the prior's
range and, for noisy data, in units of their own noise. A conditioner is therefore given unbound: as
a class, as a class with settings, or as a function.
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
"""Makes a conditioner of an operator, its measurements and their noise standard deviation."""

Unbound = Conditioner | Callable[..., Conditioner]


def bind(given: Unbound) -> ConditionerFactory:
    """A factory of conditioners for batches.

    Args:
        given: a conditioner class; ``partial(Class, zeta=0.3)`` or
            ``Class.with_settings(zeta=0.3)``; a function with parameters ``operator`` and ``y``
            and perhaps ``noise_std``; or a conditioner without an operator, such as guidance.

    Raises:
        MedscoreError: a conditioner that is already bound to an operator, or a function with other
            parameters.
    """
    if isinstance(given, Conditioner):
        if hasattr(given, "operator"):
            name = type(given).__name__
            raise MedscoreError(
                f"the conditioner {name} is already bound to an operator",
                hint=f"give the class {name}, or {name}.with_settings(...)",
            )
        return lambda operator, y, noise_std: given
    try:
        known = inspect.signature(given).parameters
    except (TypeError, ValueError) as error:
        raise MedscoreError(
            f"{given!r} is no conditioner", hint="give a conditioner class or a function"
        ) from error
    missing = {"operator", "y"} - set(known)
    if missing:
        raise MedscoreError(
            f"the conditioner {_name(given)} has no parameter {' and '.join(sorted(missing))}",
            hint="use a function of operator and y, and of noise_std where it matters",
        )

    def make(operator: Operator, y: Tensor, noise_std: float) -> Conditioner:
        extra = {"noise_std": noise_std} if "noise_std" in known else {}
        return given(operator=operator, y=y, **extra)

    return make


def _name(given: object) -> str:
    found = given.func if isinstance(given, partial) else given
    return str(getattr(found, "__name__", found))

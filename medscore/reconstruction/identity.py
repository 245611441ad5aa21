"""Texts that are equal for equal objects, also in another process.

An interrupted run may only be resumed with the same prior, operator, sampler and conditioner. Those
of users have no name, so they are identified by their class, attributes, weights and code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medscore.operators.base import Operator
from medscore.operators.linear import LinearOperator

LIBRARIES = frozenset({"builtins", "abc", "medscore", "torch", "numpy", "monai", "diffusers"})
"""Packages whose classes are identified by their names."""


def identity_of(given: Any, seen: tuple[int, ...] = ()) -> str:
    """A text that is equal for equal objects.

    Args:
        given: a number, a text, a tensor, a container, a function, a class, or an object, which is
            identified by its class and its attributes.
        seen: ids of the objects that contain it, for objects that contain themselves.
    """
    if id(given) in seen:
        return "itself"
    inside = (*seen, id(given))
    if isinstance(given, np.ndarray | Tensor):
        return _of_array(given)
    if isinstance(given, Mapping):
        return _joined((f"{k!r}:{identity_of(given[k], inside)}" for k in given), "{}")
    if isinstance(given, list | tuple | set | frozenset):
        return _joined((identity_of(item, inside) for item in given), "[]")
    if isinstance(given, partial):
        return "partial" + identity_of((given.func, given.args, given.keywords), inside)
    if isinstance(given, MethodType):
        return identity_of((given.__func__, given.__self__), inside)
    if isinstance(given, FunctionType):
        return _of_function(given, inside)
    if isinstance(given, BuiltinFunctionType):
        return f"{given.__module__}.{given.__qualname__}"
    if isinstance(given, type):
        return _of_class(given, inside)
    if isinstance(given, torch.nn.Module):
        own = {k: v for k, v in vars(given).items() if k[0] != "_" and k != "training"}
        return identity_of((type(given), given.state_dict(), own), inside)
    if isinstance(given, Operator):
        return repr(given) + identity_of(_functions_of(given), inside)
    if hasattr(given, "__dict__"):
        return identity_of((type(given), vars(given)), inside)
    return repr(given)


def _of_array(given: NDArray[Any] | Tensor) -> str:
    if isinstance(given, Tensor):
        given = given.detach().cpu().to_dense().resolve_conj().resolve_neg()
        given = (given.float() if given.dtype == torch.bfloat16 else given).numpy()
    digest = hashlib.sha256(np.ascontiguousarray(given).tobytes()).hexdigest()
    return f"{given.dtype}{given.shape}{digest}"


def _of_class(given: type, seen: tuple[int, ...]) -> str:
    """The name of a class; for those of users also its methods and values."""
    name = f"{given.__module__}.{given.__qualname__}"
    if given.__module__.partition(".")[0] in LIBRARIES:
        return name
    own = {
        key: value
        for key, value in vars(given).items()
        if isinstance(value, FunctionType) or not (key[:2] == "__" or hasattr(value, "__get__"))
    }
    own = {key: value for key, value in own.items() if key != "_abc_impl"}
    return name + identity_of((own, given.__bases__), seen)


def _of_function(given: FunctionType, seen: tuple[int, ...]) -> str:
    cells = [cell.cell_contents for cell in given.__closure__ or ()]
    held = given.__defaults__, given.__kwdefaults__, cells
    return f"{given.__module__}.{_of_code(given.__code__)}{identity_of(held, seen)}"


def _of_code(code: CodeType) -> str:
    constants = [_of_code(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    names = code.co_names, code.co_varnames
    text = repr((code.co_qualname, code.co_code.hex(), constants, names))
    return hashlib.sha256(text.encode()).hexdigest()


def _functions_of(operator: Operator) -> dict[str, Any]:
    """What the ``repr`` of an operator leaves out: functions of users, in it or in its parts."""
    functions = ("_forward", "_adjoint", "_inverse") if isinstance(operator, LinearOperator) else ()
    return {
        name: value
        for name, value in sorted(vars(operator).items())
        if name in functions or isinstance(value, Operator | tuple)
    }


def _joined(parts: Iterable[str], brackets: str) -> str:
    return brackets[0] + ",".join(parts) + brackets[1]


def described(given: Any) -> str | float:
    """An object in provenance: a number as it is, else a name or ``repr``.

    Args:
        given: the object.
    """
    if isinstance(given, int | float):
        return float(given)
    name = getattr(given, "__qualname__", None)
    return name if isinstance(name, str) else repr(given)

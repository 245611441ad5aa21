"""Baselines from words: a name, and parameters as values or as texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.io.specs import faults
from medscore.reconstruction.baselines.base import BaselineMethod
from medscore.reconstruction.baselines.methods import BASELINES
from medscore.registry.presets import parsed


def baseline(
    kind: str,
    parameters: Mapping[str, Any] | Sequence[str] = (),
    *,
    noise: str | float | Tensor = "recorded",
) -> BaselineMethod:
    """A baseline as a reconstruction method, from its name and parameters.

    Args:
        kind: name of the baseline, such as "fista-tv".
        parameters: values by name, or texts such as "weight=1e-4"; others keep their defaults.
        noise: noise of the data, as in :class:`BaselineMethod`.

    Raises:
        MedscoreError: no such baseline or parameter, or a value out of range.
    """
    solver = BASELINES[kind]
    values = BASELINES.convert(kind, parsed(parameters))
    try:
        return BaselineMethod(solver(**values), noise)
    except ValidationError as error:
        raise MedscoreError(
            f"baseline {kind}: {faults(error, solver)}", hint="use other parameters"
        ) from error

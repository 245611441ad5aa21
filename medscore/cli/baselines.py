"""Names of baselines in configurations: one dict; a new one is a file of its own and a line here."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from medscore.baselines.base import Baseline
from medscore.baselines.total_variation import FISTATV
from medscore.errors import MedscoreError
from medscore.strict import first_fault

BASELINES: dict[str, type[Baseline]] = {
    "fista-tv": FISTATV,
}


def baseline(parameters: dict[str, Any]) -> Baseline:
    """A baseline of its ``kind`` and parameters.

    Raises:
        MedscoreError: no such kind, or parameters that it does not have.
    """
    kind = parameters.get("kind")
    if kind not in BASELINES:
        raise MedscoreError(f"no baseline {kind!r}", mend=f"use the kind {', '.join(BASELINES)}")
    try:
        return BASELINES[kind].model_validate(parameters)
    except ValidationError as error:
        raise MedscoreError(
            f"baseline {kind}: {first_fault(error)}", mend="correct its parameters"
        ) from None

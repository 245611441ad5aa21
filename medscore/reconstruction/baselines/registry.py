"""Baselines by the name that a configuration gives them: one line each, here and nowhere else."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from medscore.errors import MedscoreError
from medscore.io.specs import first_fault
from medscore.reconstruction.baselines.base import Baseline
from medscore.reconstruction.baselines.fbp import FBP
from medscore.reconstruction.baselines.interpolation import LI
from medscore.reconstruction.baselines.least_squares import CGLS, SIRT
from medscore.reconstruction.baselines.nmar import NMAR
from medscore.reconstruction.baselines.sense import CGSense
from medscore.reconstruction.baselines.total_variation import FISTATV
from medscore.reconstruction.baselines.wavelet import L1Wavelet
from medscore.reconstruction.baselines.zero_filled import ZeroFilled

BASELINES: dict[str, type[Baseline]] = {
    "fbp": FBP,
    "li": LI,
    "nmar": NMAR,
    "zero-filled": ZeroFilled,
    "cgls": CGLS,
    "sirt": SIRT,
    "cg-sense": CGSense,
    "fista-tv": FISTATV,
    "l1-wavelet": L1Wavelet,
}


def baseline(parameters: dict[str, Any]) -> Baseline:
    """The baseline that a mapping with a ``kind``, and parameters other than the default, asks for.

    Raises:
        MedscoreError: no kind or an unknown one, or a parameter that it does not have or allow.
    """
    kind = parameters.get("kind")
    if not isinstance(kind, str) or kind not in BASELINES:
        what = "a baseline has no kind" if kind is None else f"no baseline {kind!r}"
        raise MedscoreError(what, hint=f"use one of: {', '.join(BASELINES)}")
    chosen = BASELINES[kind]
    try:
        return chosen.model_validate(parameters)
    except ValidationError as error:
        others = [name for name in chosen.model_fields if name != "kind"]
        takes = f"takes {', '.join(others)}" if others else "takes no parameters"
        raise MedscoreError(
            f"baseline {kind}: {first_fault(error)}", hint=f"{kind} {takes}"
        ) from error

"""Training objectives of score models: denoising, exact and sliced score matching.

Denoising losses are means over the components of a sample, without the factor 1/2 of Eq. 3.1. The
losses of exact and sliced score matching are sums over the components, with that factor, as in the
text. The names are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medscore.objectives.denoising import (
        Denoising,
        ddpm,
        denoising_loss,
        denoising_score_matching,
        edm,
        likelihood,
        likelihood_importance,
        smld,
    )
    from medscore.objectives.dequantised import Dequantised
    from medscore.objectives.grey_levels import Levels
    from medscore.objectives.high_order import HighOrder
    from medscore.objectives.score_matching import exact_score_matching
    from medscore.objectives.sliced import (
        gaussian,
        rademacher,
        sliced_score_matching,
        sliced_score_matching_vr,
        sphere,
    )
    from medscore.objectives.sliced_sde import SlicedSDE

__all__ = [
    "Denoising",
    "Dequantised",
    "HighOrder",
    "Levels",
    "SlicedSDE",
    "ddpm",
    "denoising_loss",
    "denoising_score_matching",
    "edm",
    "exact_score_matching",
    "gaussian",
    "likelihood",
    "likelihood_importance",
    "rademacher",
    "sliced_score_matching",
    "sliced_score_matching_vr",
    "smld",
    "sphere",
]

_MODULES = {
    "denoising": (
        "Denoising",
        "ddpm",
        "denoising_loss",
        "denoising_score_matching",
        "edm",
        "likelihood",
        "likelihood_importance",
        "smld",
    ),
    "dequantised": ("Dequantised",),
    "grey_levels": ("Levels",),
    "high_order": ("HighOrder",),
    "score_matching": ("exact_score_matching",),
    "sliced": (
        "gaussian",
        "rademacher",
        "sliced_score_matching",
        "sliced_score_matching_vr",
        "sphere",
    ),
    "sliced_sde": ("SlicedSDE",),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

"""Image quality under named conventions: PSNR, SSIM and NMSE, and distances between images."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medscore.metrics.card import Card, Estimate, mean_interval
    from medscore.metrics.convention import CONVENTIONS, CT_CONVENTION, Convention
    from medscore.metrics.image_quality import Quality, average, qualities, quality
    from medscore.metrics.memorisation import nearest

_MODULES = {
    "CONVENTIONS": "convention",
    "CT_CONVENTION": "convention",
    "Card": "card",
    "Convention": "convention",
    "Estimate": "card",
    "Quality": "image_quality",
    "average": "image_quality",
    "mean_interval": "card",
    "nearest": "memorisation",
    "qualities": "image_quality",
    "quality": "image_quality",
}
"""Where the public names are defined; imported on first use."""

__all__ = [
    "CONVENTIONS",
    "CT_CONVENTION",
    "Card",
    "Convention",
    "Estimate",
    "Quality",
    "average",
    "mean_interval",
    "nearest",
    "qualities",
    "quality",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

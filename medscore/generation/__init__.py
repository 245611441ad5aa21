"""Images without measurements: draw, complete, encode, decode, and compare with real images."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medscore.generation.classifier import NoisyClassifier, load_classifier
    from medscore.generation.codes import Codes, read_codes, write_codes
    from medscore.generation.coding import FlowSettings, decode_codes, encode_images
    from medscore.generation.comparison import (
        Comparison,
        Distances,
        TrainingNeighbours,
        compare_images,
        read_features,
    )
    from medscore.generation.completion import Completion, complete
    from medscore.generation.gallery import GeneratedImages, write_gallery
    from medscore.generation.inception import inception_features
    from medscore.generation.latent import (
        Agreement,
        agreement,
        compare_codes,
        decode,
        encode,
        slerp,
    )
    from medscore.generation.observations import Observations, ObservationSettings, observe
    from medscore.generation.quality import (
        frechet,
        mmd,
        precision_recall,
        sliced_wasserstein,
    )
    from medscore.generation.sampling import GenerationSettings, generate
    from medscore.generation.sheet import contact_sheet

_MODULES = {
    "classifier": ("NoisyClassifier", "load_classifier"),
    "codes": ("Codes", "read_codes", "write_codes"),
    "coding": ("FlowSettings", "decode_codes", "encode_images"),
    "comparison": (
        "Comparison", "Distances", "TrainingNeighbours", "compare_images", "read_features",
    ),
    "completion": ("Completion", "complete"),
    "gallery": ("GeneratedImages", "write_gallery"),
    "inception": ("inception_features",),
    "latent": ("Agreement", "agreement", "compare_codes", "decode", "encode", "slerp"),
    "observations": ("ObservationSettings", "Observations", "observe"),
    "quality": ("frechet", "mmd", "precision_recall", "sliced_wasserstein"),
    "sampling": ("GenerationSettings", "generate"),
    "sheet": ("contact_sheet",),
}  # fmt: skip
"""Public names by the module that defines them; modules are imported on first use."""

_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Agreement",
    "Codes",
    "Comparison",
    "Completion",
    "Distances",
    "FlowSettings",
    "GeneratedImages",
    "GenerationSettings",
    "NoisyClassifier",
    "ObservationSettings",
    "Observations",
    "TrainingNeighbours",
    "agreement",
    "compare_codes",
    "compare_images",
    "complete",
    "contact_sheet",
    "decode",
    "decode_codes",
    "encode",
    "encode_images",
    "frechet",
    "generate",
    "inception_features",
    "load_classifier",
    "mmd",
    "observe",
    "precision_recall",
    "read_codes",
    "read_features",
    "slerp",
    "sliced_wasserstein",
    "write_codes",
    "write_gallery",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})

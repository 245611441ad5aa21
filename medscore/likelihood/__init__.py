"""Likelihood of images under a prior: exact by the probability flow, and bounds from the loss."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medscore.likelihood.assessment import (
        ImageLikelihood,
        assess_image,
        make_dequantization,
    )
    from medscore.likelihood.bound import (
        Bound,
        correction,
        denoising_bound,
        denoising_draw,
        matching_bound,
    )
    from medscore.likelihood.dequantization import DequantizationFlow, dequantization_loss
    from medscore.likelihood.dequantizer import (
        DequantizerContract,
        FlowSpec,
        load_dequantizer,
        save_dequantizer,
    )
    from medscore.likelihood.divergence import (
        Divergence,
        Hutchinson,
        exact,
        gaussian,
        rademacher,
    )
    from medscore.likelihood.flow import FlowLikelihood, log_likelihood
    from medscore.likelihood.inputs import ImageSet, read_images
    from medscore.likelihood.proposal import Proposal, fit_proposal
    from medscore.likelihood.report import Assessment, assess_images, write_assessment
    from medscore.likelihood.settings import LikelihoodSettings
    from medscore.likelihood.typicality import (
        Typical,
        nats_per_dim,
        network_range,
        read_typical,
        write_typical,
        z_scores,
    )

_MODULES = {
    "assessment": ("ImageLikelihood", "assess_image", "make_dequantization"),
    "bound": ("Bound", "correction", "denoising_bound", "denoising_draw", "matching_bound"),
    "dequantization": ("DequantizationFlow", "dequantization_loss"),
    "dequantizer": ("DequantizerContract", "FlowSpec", "load_dequantizer", "save_dequantizer"),
    "divergence": ("Divergence", "Hutchinson", "exact", "gaussian", "rademacher"),
    "flow": ("FlowLikelihood", "log_likelihood"),
    "inputs": ("ImageSet", "read_images"),
    "proposal": ("Proposal", "fit_proposal"),
    "report": ("Assessment", "assess_images", "write_assessment"),
    "settings": ("LikelihoodSettings",),
    "typicality": (
        "Typical", "nats_per_dim", "network_range", "read_typical", "write_typical", "z_scores",
    ),
}  # fmt: skip
"""Public names by the module that defines them; modules are imported on first use."""

_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Assessment",
    "Bound",
    "DequantizationFlow",
    "DequantizerContract",
    "Divergence",
    "FlowLikelihood",
    "FlowSpec",
    "Hutchinson",
    "ImageLikelihood",
    "ImageSet",
    "LikelihoodSettings",
    "Proposal",
    "Typical",
    "assess_image",
    "assess_images",
    "correction",
    "denoising_bound",
    "denoising_draw",
    "dequantization_loss",
    "exact",
    "fit_proposal",
    "gaussian",
    "load_dequantizer",
    "log_likelihood",
    "make_dequantization",
    "matching_bound",
    "nats_per_dim",
    "network_range",
    "rademacher",
    "read_images",
    "read_typical",
    "save_dequantizer",
    "write_assessment",
    "write_typical",
    "z_scores",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})

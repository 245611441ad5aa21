"""The contrast of an MR image, which priors that know classes of images can be told.

A contrast that is not known can be estimated: the image is reconstructed with none first, and the
class that denoises this image best is told in a second reconstruction.
"""

from __future__ import annotations

import numpy as np
import torch

from medscore.datasets.collections.slices import FULL
from medscore.domain import ImageDomain
from medscore.errors import MedscoreError
from medscore.nets.local_unet import NONE
from medscore.priors.base import Prior
from medscore.priors.class_estimate import class_losses
from medscore.priors.network import NetworkPrior
from medscore.reconstruction.result import Reconstruction

ESTIMATE = "estimate"
"""Asks for the contrast that fits the image best."""

MOST = 8
"""Largest number of slices by which the contrast is estimated, equally spaced among all."""


def check_contrast(contrast: str | None, domain: ImageDomain) -> None:
    """Reject a contrast that a prior does not know.

    Args:
        contrast: name of the contrast, or ``estimate``; None and ``none`` tell the prior nothing.
        domain: image domain of the prior.

    Raises:
        MedscoreError: the prior knows no such contrast; the message names those it knows.
    """
    if contrast in (None, NONE, *domain.classes) or (contrast == ESTIMATE and domain.classes):
        return
    known = ", ".join(domain.classes)
    raise MedscoreError(
        f"`contrast` is {contrast!r:.80}, which prior {domain.name} does not know",
        hint=f"use one of: {known}, none, estimate"
        if known
        else "leave it out: it knows no contrasts",
    )


def as_network(prior: Prior) -> NetworkPrior:
    """A prior that can be told a class.

    Args:
        prior: the prior.

    Raises:
        MedscoreError: it is a wrapper or no network.
    """
    if isinstance(prior, NetworkPrior):
        return prior
    raise MedscoreError(
        f"the prior {type(prior).__name__} cannot be told a `contrast`",
        hint="leave it out, or use a NetworkPrior",
    )


def class_record(prior: Prior | None) -> dict[str, str]:
    """The class that a prior was told, for provenance; empty if it was told none.

    Args:
        prior: the prior.
    """
    if not isinstance(prior, NetworkPrior) or not prior.label:
        return {}
    return {"class": prior.classes[prior.label - 1]}


def estimated_losses(prior: NetworkPrior, found: Reconstruction) -> dict[str, float]:
    """The error of denoising reconstructed magnitudes by each class; the smallest is the estimate.

    Each slice is in units of its own 99.5th percentile. For a prior of complex images the
    magnitudes have no phase, which is one of the phases that it knows.

    Args:
        prior: the prior, on any grid or none.
        found: a reconstruction for which the prior was told no class.
    """
    mean, m = found.mean, found.measurement
    rows = np.unique(np.linspace(0, len(mean) - 1, min(MOST, len(mean))).round().astype(int))
    device = next(prior.parameters()).device
    magnitude = torch.from_numpy(mean[rows]).to(device).clamp_min(0)[:, None]
    full = torch.quantile(magnitude.flatten(1), FULL, dim=1).clamp_min(1e-30)
    x = magnitude / full[:, None, None, None]
    if prior.domain is not None and prior.domain.channels == 2:
        x = torch.cat([x, torch.zeros_like(x)], dim=1)
    placed = prior.on_grid((x.shape[-2], x.shape[-1]), m.spacing[0], allow_mismatch=True)
    return class_losses(placed, x)

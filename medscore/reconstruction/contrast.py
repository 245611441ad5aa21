"""The contrast of an MR image, which priors that know classes of images can be told.

A contrast that is not known can be estimated: the image is reconstructed with none first, and the
class that denoises this image best is told in a second reconstruction. A contrast that was told is
compared with the others in the same way.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from medscore.domain import ImageDomain
from medscore.errors import MedscoreError
from medscore.likelihood.typicality import network_range
from medscore.nets.local_unet import NONE
from medscore.priors.base import Prior
from medscore.priors.class_estimate import class_losses
from medscore.priors.network import NetworkPrior
from medscore.reconstruction.result import Reconstruction

ESTIMATE = "estimate"
"""Asks for the contrast that fits the image best."""

MOST = 8
"""Largest number of slices by which the contrast is estimated, equally spaced among all."""

MARGIN = 0.02
"""Relative excess of the error of denoising by the contrast that was told, over that by another
one, from which the other one is named."""


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


def own_record(prior: Prior | None) -> dict[str, str]:
    """The class that a prior was told, and the hash of its learned covariance, for provenance.

    Args:
        prior: the prior.
    """
    if not isinstance(prior, NetworkPrior):
        return {}
    record = {"class": prior.classes[prior.label - 1]} if prior.label else {}
    if prior.head is not None and prior.head.sha256:
        record["covariance_sha256"] = prior.head.sha256
    return record


def estimated_losses(prior: NetworkPrior, found: Reconstruction) -> dict[str, float]:
    """The error of denoising reconstructed magnitudes by each class; the smallest is the estimate.

    Args:
        prior: the prior with an image domain, on any grid or none.
        found: a reconstruction.
    """
    assert prior.domain is not None
    mean, m = found.mean, found.measurement
    rows = np.unique(np.linspace(0, len(mean) - 1, min(MOST, len(mean))).round().astype(int))
    x = network_range(mean[rows].clip(0), prior.domain).to(next(prior.parameters()).device)
    placed = prior.on_grid((x.shape[-2], x.shape[-1]), m.spacing[0], allow_mismatch=True)
    return class_losses(placed, x)


def with_contrast_checked(prior: Prior, found: Reconstruction) -> Reconstruction:
    """The reconstruction, with a warning if it looks like another contrast than the one told.

    Args:
        prior: the prior as it was used.
        found: its reconstruction, which is returned as it is if the prior was told no contrast.
    """
    told = own_record(prior).get("class")
    if told is None or not isinstance(prior, NetworkPrior) or prior.domain is None:
        return found
    losses = estimated_losses(prior, found)
    rounded = {name: round(loss, 6) for name, loss in losses.items()}
    record = {**found.record, "contrast": {"told": told, "losses": rounded}}
    return replace(
        found, record=record, warnings=(*found.warnings, *contradictions(told, losses))
    )  # fmt: skip


def contradictions(told: str, losses: dict[str, float]) -> tuple[str, ...]:
    """A warning if the images are denoised clearly better by another class than by the one told.

    Args:
        told: the class that the prior was told.
        losses: the error of denoising by each class.
    """
    best = min(losses, key=lambda name: losses[name])
    excess = losses[told] / losses[best] - 1
    if excess <= MARGIN:
        return ()
    return (
        f"the image looks more like {best} than like {told}, which the prior was told: the error "
        f"of denoising it is {100 * excess:.0f} % larger by {told}; tell none, or estimate it",
    )

"""The contrast of an MR image, which priors that know classes of images can be told."""

from __future__ import annotations

from medscore.domain import ImageDomain
from medscore.errors import MedscoreError
from medscore.nets.local_unet import NONE
from medscore.priors.base import Prior
from medscore.priors.network import NetworkPrior


def check_contrast(contrast: str | None, domain: ImageDomain) -> None:
    """Reject a contrast that a prior does not know.

    Args:
        contrast: name of the contrast; None and ``none`` tell the prior nothing.
        domain: image domain of the prior.

    Raises:
        MedscoreError: the prior knows no such contrast; the message names those it knows.
    """
    if contrast in (None, NONE, *domain.classes):
        return
    known = ", ".join(domain.classes)
    raise MedscoreError(
        f"`contrast` is {contrast!r:.80}, which prior {domain.name} does not know",
        hint=f"use one of: {known}, none" if known else "leave it out: it knows no contrasts",
    )


def class_record(prior: Prior | None) -> dict[str, str]:
    """The class that a prior was told, for provenance; empty if it was told none.

    Args:
        prior: the prior.
    """
    if not isinstance(prior, NetworkPrior) or not prior.label:
        return {}
    return {"class": prior.classes[prior.label - 1]}

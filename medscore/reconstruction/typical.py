"""How typical a reconstruction is of the images that its prior was trained and validated on."""

from __future__ import annotations

from torch import Tensor

from medscore.domain import ImageDomain
from medscore.likelihood.typicality import judged, read_typical, z_scores
from medscore.likelihood.unusual import Judgement
from medscore.priors.base import Prior
from medscore.priors.network import NetworkPrior
from medscore.reconstruction.result import Reconstruction


def typicality_of(
    prior: Prior, domain: ImageDomain, found: Reconstruction
) -> tuple[Tensor | None, tuple[Judgement, ...]]:
    """z of the first samples relative to validation images, and what the further tests say.

    Args:
        prior: the prior.
        domain: its image domain.
        found: the reconstruction.

    Returns:
        z of each slice, None without statistics of the prior; and the judgements of its tests.
    """
    if not isinstance(prior, NetworkPrior) or prior.file is None:
        return None, ()
    typical = read_typical(prior.file, prior.sha256)
    if typical is None:
        return None, ()
    first = found.samples[:, 0]
    prior = prior.of_class(None)  # as the statistics were fitted
    return z_scores(typical, prior, domain, first), judged(typical, prior, domain, first)

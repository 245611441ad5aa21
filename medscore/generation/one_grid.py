"""Priors for any matrix on the one grid of the images that are drawn, encoded or decoded."""

from __future__ import annotations

from typing import Any

from medscore.priors.contract import DataContract
from medscore.priors.network import NetworkPrior


def placed(prior: NetworkPrior, contract: DataContract) -> NetworkPrior:
    """A prior on the grid of a contract; one of a single size as it is.

    Args:
        prior: the prior.
        contract: its data contract, for one matrix size.
    """
    return prior.on_grid((contract.side, contract.side), contract.spacing_mm[0])


def grid_record(prior: DataContract, chosen: DataContract) -> dict[str, Any]:
    """The grid for provenance.json; empty for a prior of one size.

    Args:
        prior: data contract of the prior.
        chosen: the same, for one matrix size.
    """
    if prior.size is not None:
        return {}
    return {"grid": {"size": chosen.side, "spacing_mm": chosen.spacing_mm[0]}}

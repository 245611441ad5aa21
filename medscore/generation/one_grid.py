"""Priors on the one grid, and of the one class, of the images that are drawn or decoded."""

from __future__ import annotations

from typing import Any

from medscore.errors import MedscoreError
from medscore.priors.contract import DataContract
from medscore.priors.network import NetworkPrior


def placed(prior: NetworkPrior, contract: DataContract) -> NetworkPrior:
    """A prior on the grid of a contract; one of a single size as it is.

    Args:
        prior: the prior.
        contract: its data contract, for one matrix size.
    """
    return prior.on_grid((contract.side, contract.side), contract.spacing_mm[0])


def known_class(label: str | None, contract: DataContract) -> str | None:
    """The class of all images, by a prior that knows classes.

    Args:
        label: name of the class; None for no class.
        contract: data contract of the prior.

    Raises:
        MedscoreError: the prior knows no such class.
    """
    if label in (None, *contract.classes):
        return label
    if not contract.classes:
        raise MedscoreError(
            f"`classifier` and `label` go together: prior {contract.name} knows no classes itself",
            hint="give both, or neither",
        )
    raise MedscoreError(
        f"`label` is {label!r:.80}, which prior {contract.name} does not know",
        hint=f"use one of: {', '.join(contract.classes)}",
    )


def grid_record(prior: DataContract, chosen: DataContract) -> dict[str, Any]:
    """The grid for provenance.json; empty for a prior of one size.

    Args:
        prior: data contract of the prior.
        chosen: the same, for one matrix size.
    """
    if prior.size is not None:
        return {}
    return {"grid": {"size": chosen.side, "spacing_mm": chosen.spacing_mm[0]}}

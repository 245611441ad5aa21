"""What is said of a file: kind, facts, notes, and whether priors fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from medscore.priors.contract import DataContract
from medscore.reconstruction.compatibility import Misfit

Contracts = Mapping[str, DataContract]
"""Data contracts of priors by name."""


@dataclass(frozen=True)
class Report:
    """The description of one image or measurement file.

    Attributes:
        what: kind of file.
        facts: values by name, in the order to show them.
        noticed: notes for the user.
        priors: for each prior, whether it fits, and on which grid, or the differences.
    """

    what: str
    facts: dict[str, str]
    noticed: tuple[str, ...]
    priors: dict[str, str] = field(default_factory=dict)


def own_grid(contract: DataContract) -> str:
    """That a prior for any matrix works on the grid of the image; empty for other priors.

    Args:
        contract: data contract of the prior.
    """
    if contract.size is not None:
        return ""
    low, high = contract.spacing_mm
    return (
        f", {contract.matrix} with pixels of {low:g} to {high:g} mm, receptive field "
        f"{contract.receptive_field} pixels{', position counts' if contract.uses_position else ''}"
    )


def verdict(found: Sequence[Misfit], on_grid: str = "") -> str:
    """Whether a prior fits, and what differs.

    Args:
        found: differences between the file and the prior.
        on_grid: the grid on which they are compared.
    """
    if not found:
        return f"fits{on_grid}"
    return (
        "no" + on_grid + ": " + "; ".join(f"{what} {ours}, not {its}" for what, ours, its in found)
    )

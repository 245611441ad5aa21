"""Whether a prior fits the images of a measurement."""

from __future__ import annotations

from pathlib import Path

from medscore.errors import MedscoreError
from medscore.measurements.measurement import Measurement
from medscore.priors.contract import DataContract


def check_compatible(
    contract: DataContract, measurement: Measurement, *, prior_name: str, where: Path
) -> None:
    """Refuse a prior that was not trained on such images.

    Raises:
        MedscoreError: naming both sides: modality, matrix size or pixel spacing differ.
    """
    for what, ours, theirs in measurement_misfits(contract, measurement):
        raise MedscoreError(
            f"{what} is {ours}, prior {prior_name} has {theirs}",
            where=where,
            hint="choose a prior that fits (`medscore priors list`), or simulate at its size",
        )


def measurement_misfits(contract: DataContract, m: Measurement) -> list[tuple[str, str, str]]:
    """:func:`misfits` of the images of a measurement."""
    (rows, columns), (x, y) = m.size, m.spacing
    quantity = "HU" if m.modality == "CT" else "magnitude"
    if m.modality == "MR" and contract.complex_data == "two-channel":
        quantity = contract.quantity
    found = misfits(contract, modality=m.modality, quantity=quantity, size=columns, spacing=x)
    if rows != columns:
        found.append(("matrix size", f"{columns} x {rows}", f"{contract.size}"))
    if abs(x - y) > 2e-3 * x:
        found.append(("pixels in mm", f"{x:.4g} x {y:.4g}", "square"))
    return found


def misfits(
    contract: DataContract, *, modality: str, quantity: str, size: int, spacing: float
) -> list[tuple[str, str, str]]:
    """In what images differ from those a prior was trained on: what, theirs, the prior's.

    Args:
        quantity: "HU" or "magnitude". size: of the square slices. spacing: of their pixels in mm.
    """
    low, high = contract.spacing_mm
    dimension = getattr(contract.network, "spatial_dims", 2)
    sides = [
        (modality == contract.modality, "modality", modality, contract.modality),
        (quantity == contract.quantity, "quantity", quantity, contract.quantity),
        (dimension == 2, "dimension", "2", f"{dimension}"),
        (size == contract.size, "matrix size", f"{size}", f"{contract.size}"),
        (low <= spacing <= high, "pixel spacing in mm", f"{spacing:g}", f"{low:g} to {high:g}"),
    ]
    return [(what, ours, theirs) for same, what, ours, theirs in sides if not same]

"""Checks that a prior fits the images of a measurement."""

from __future__ import annotations

from pathlib import Path

from medscore.domain import ImageDomain
from medscore.errors import MedscoreError
from medscore.measurements.measurement import Measurement

Misfit = tuple[str, str, str]
"""Name of the property that differs, its value for the images, and its value for the prior."""

OF_THE_GRID = ("matrix size", "pixel spacing in mm")
"""Differences that a fit to the prior's grid removes."""


def check_compatible(
    domain: ImageDomain,
    measurement: Measurement,
    *,
    where: str | Path,
    prior_name: str | None = None,
    same_grid: bool = True,
) -> None:
    """Reject a prior that was not trained on images like those of a measurement.

    Args:
        domain: image domain of the prior.
        measurement: the data.
        where: name of the measurement in error messages.
        prior_name: name of the prior in error messages; by default the domain's name.
        same_grid: whether matrix size and pixel spacing count too.

    Raises:
        MedscoreError: modality, quantity, matrix size or pixel spacing differ; the message has both
            values.
    """
    for what, ours, theirs in measurement_misfits(domain, measurement):
        if what in OF_THE_GRID and not same_grid:
            continue
        raise MedscoreError(
            f"{what} is {ours}, prior {prior_name or domain.name} has {theirs}",
            where=where,
            hint="use a prior that fits (`medscore priors list`), or set `allow_mismatch`",
        )


def measurement_misfits(domain: ImageDomain, m: Measurement) -> list[Misfit]:
    """The differences between the images of a measurement and those of a prior.

    Args:
        domain: image domain of the prior.
        m: the measurement.
    """
    (rows, columns), (x, y) = m.size, m.spacing
    quantity = "HU" if m.modality == "CT" else "magnitude"
    if m.modality == "MR" and domain.complex_data == "two-channel":
        quantity = domain.quantity
    found = misfits(domain, modality=m.modality, quantity=quantity, size=columns, spacing=x)
    if domain.size is not None and rows != columns:
        found.append(("matrix size", f"{columns} x {rows}", f"{domain.size}"))
    if domain.spacing_mm is not None and abs(x - y) > 2e-3 * x:
        found.append(("pixel spacing in mm", f"{x:.4g} x {y:.4g}", "square pixels"))
    return found


def misfits(
    domain: ImageDomain, *, modality: str, quantity: str, size: int, spacing: float
) -> list[Misfit]:
    """The differences between given images and those of a prior.

    Args:
        domain: image domain of the prior.
        modality: CT or MR.
        quantity: "HU" or "magnitude".
        size: rows and columns of the square slices.
        spacing: pixel spacing in mm.
    """
    low, high = domain.spacing_mm or (0.0, float("inf"))
    sides = [
        (modality == domain.modality, "modality", modality, domain.modality),
        (quantity == domain.quantity, "quantity", quantity, domain.quantity),
        (domain.spatial_dims == 2, "dimension", "2", f"{domain.spatial_dims}"),
        (domain.size in (None, size), "matrix size", f"{size}", f"{domain.size}"),
        (low <= spacing <= high, "pixel spacing in mm", f"{spacing:g}", f"{low:g} to {high:g}"),
    ]
    return [(what, ours, theirs) for same, what, ours, theirs in sides if not same]

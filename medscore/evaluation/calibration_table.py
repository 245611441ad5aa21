"""The calibration table of measured errors, and what it says in one line for each family."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

import medscore
from medscore.errors import MedscoreError
from medscore.evaluation.slice_errors import SliceErrors
from medscore.reconstruction.widths import guarantee_of
from medscore.uncertainty.intervals import LEVEL, student_multiple
from medscore.uncertainty.risk import losses_at, patients_needed, smallest_multiple
from medscore.uncertainty.table import (
    LEVELS,
    RANGES,
    CalibrationTable,
    Condition,
    Family,
    PatientErrors,
    quantiles_of,
)


def table_of(
    cells: dict[str, list[SliceErrors]],
    data: Sequence[str],
    rule: str,
    confidence: float,
    where: str | Path = "calibration",
) -> CalibrationTable:
    """The calibration table of the errors of slices.

    Args:
        cells: the errors of the slices, by the name of the family.
        data: patterns of the files, for the table.
        rule: see :func:`calibrate`.
        confidence: see :func:`calibrate`.
        where: the configuration, for error messages.

    Raises:
        MedscoreError: all slices of a family are unlike the prior's images.
    """
    families = [family_of(name, found, where) for name, found in cells.items()]
    first = next(iter(cells.values()))[0]
    content = {
        "prior": first.prior, "prior_sha256": first.prior_sha256, "data": tuple(data),
        "rule": rule, "confidence": confidence, "families": tuple(families),
        "medscore": medscore.__version__,
    }  # fmt: skip
    return CalibrationTable.model_validate(content)


def family_of(name: str, cells: Sequence[SliceErrors], where: str | Path) -> Family:
    """The errors of the patients of a family.

    Args:
        name: name of the family.
        cells: the errors of its slices.
        where: the configuration, for error messages.

    Raises:
        MedscoreError: all slices are unlike the prior's images.
    """
    usual = [cell for cell in cells if not cell.unlike]
    if not usual:
        raise MedscoreError(
            f"{name}: {cells[0].unlike}, and so is every slice", where=where,
            hint="calibrate on images of the kind that the prior was trained on",
        )  # fmt: skip
    patients = []
    for patient in dict.fromkeys(cell.patient for cell in usual):
        own = [cell for cell in usual if cell.patient == patient]
        pixels = np.concatenate([cell.ratios for cell in own])
        regions = np.concatenate([cell.region_ratios for cell in own])
        patients.append(
            PatientErrors(
                name=patient, slices=len(own), pixels=len(pixels), ratios=quantiles_of(pixels),
                regions=quantiles_of(regions),
            )
        )  # fmt: skip
    return Family(
        name=name, conditions=span_of([cell.condition for cell in usual]),
        method=usual[0].method, samples=usual[0].samples, nfe=usual[0].nfe,
        patients=tuple(patients),
    )  # fmt: skip


def span_of(conditions: Sequence[Condition]) -> tuple[Condition, ...]:
    """For each task and size of the image, conditions of all smallest and of all largest numbers.

    Args:
        conditions: conditions of measurements.
    """
    kinds: dict[tuple[object, ...], list[Condition]] = {}
    for each in conditions:
        kinds.setdefault((each.task, each.modality, each.rows, each.columns), []).append(each)
    found = []
    for group in kinds.values():
        for pick in (min, max):
            ends = {name: pick(getattr(each, name) for each in group) for name in RANGES}
            found.append(group[0].model_copy(update=ends))
    return tuple(dict.fromkeys(found))


def summary(table: CalibrationTable, level: float = LEVEL) -> list[str]:
    """One line for each family: what was measured, the factor, and what it guarantees.

    Args:
        table: the table.
        level: share of the pixels that the intervals shall hold.
    """
    return [_summary(table, family, level) for family in table.families]


def _summary(table: CalibrationTable, family: Family, level: float) -> str:
    n, quantiles = len(family.patients), family.quantiles()
    plain = student_multiple(level, family.samples, pairs=family.pairs)
    before = 1 - float(np.mean(losses_at(plain, LEVELS, quantiles)))
    head = (
        f"{family.name}: {n} patient(s), {sum(p.slices for p in family.patients)} slice(s); "
        f"with factor 1, {100 * level:.4g} % intervals hold {100 * before:.3g} %; "
    )
    multiple = smallest_multiple(table.rule, LEVELS, quantiles, 1 - level, table.confidence)
    if np.isfinite(multiple):
        return head + f"factor {multiple / plain:.3g}: {guarantee_of(table, n, level)}"
    needed = patients_needed(table.rule, 1 - level, table.confidence)
    if needed > n:
        return head + f"out of reach: the rule {table.rule} needs {needed} patients"
    return head + "no width holds them"

"""How many pixels and regions of real slices the calibrated intervals hold.

Intervals are calibrated on validation patients and judged on others: CT on those of COVID-19-NY-SBU
(TCIA, CC BY 4.0) after a calibration on TCGA-LUAD and TCGA-LUSC (TCIA, CC BY 3.0); MRI on each
patient of TCGA-LGG after a calibration on the other patients. All numbers are means over patients:
the share of the pixels of the body, and of 200 random regions of each slice, inside the 90 %
intervals; that share in each quintile of the predicted width; Pearson's correlation of the
standard deviation with |error|; and the fair CRPS. Slices that the reconstruction calls unusual for
the prior are uncalibrated and left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from number import Number
from uncertainty_settings import Settings

from medscore.evaluation.calibration import CalibrationRun, measured_errors
from medscore.evaluation.calibration_table import family_of
from medscore.evaluation.slice_errors import SliceErrors
from medscore.io.configs import config_path
from medscore.uncertainty import intervals
from medscore.uncertainty.intervals import student_multiple
from medscore.uncertainty.risk import smallest_multiple
from medscore.uncertainty.scores import correlation, coverage_by_width
from medscore.uncertainty.table import LEVELS

LEVEL, RULE = 0.9, "measured"
"""The intervals that are judged."""

COVID = {"data": ["ct/covid-19-ny-sbu/*/*.dcm"], "accept": ["derived"]}

COMPARISONS: dict[str, dict[str, Any] | None] = {
    "calibrate-ct": COVID, "calibrate-native-ct": COVID, "calibrate-mri": None
}  # fmt: skip
"""The configuration of each calibration, and what differs in the cohort that is judged; None to
judge each patient after a calibration on the others."""


@dataclass(frozen=True)
class Judgement:
    """The intervals of a patient against the truth.

    Attributes:
        inside: share of the pixels of the body inside.
        uncalibrated: the same share of the intervals without calibration.
        quintiles: the share inside, from the narrowest to the widest fifth of the intervals.
        regions: share of the random regions inside.
        correlation: of the standard deviation with the size of the error.
        crps: mean fair CRPS, in HU or as magnitude.
    """

    inside: float
    uncalibrated: float
    quintiles: tuple[float, ...]
    regions: float
    correlation: float
    crps: float


def judged(cells: Sequence[SliceErrors], known: Sequence[SliceErrors]) -> Judgement:
    """The intervals of a patient after a calibration on others.

    Args:
        cells: the slices of the patient.
        known: the slices of the patients that are calibrated on.
    """
    family = family_of("family", known, "coverage")
    pixels, regions = (
        smallest_multiple(RULE, LEVELS, family.quantiles(of), 1 - LEVEL, 0.9)
        for of in ("ratios", "regions")
    )
    ratios = np.concatenate([cell.ratios for cell in cells])
    std = np.concatenate([cell.std for cell in cells])
    width = np.concatenate([cell.deviation for cell in cells])
    plain = [
        intervals.ratios(cell.error, cell.std, cell.samples, pairs=cell.pairs) for cell in cells
    ]
    return Judgement(
        inside=float((ratios <= pixels).mean()),
        uncalibrated=float(
            (
                np.concatenate(plain)
                <= student_multiple(LEVEL, cells[0].samples, pairs=cells[0].pairs)
            ).mean()
        ),
        quintiles=coverage_by_width(ratios <= pixels, width),
        regions=float((np.concatenate([c.region_ratios for c in cells]) <= regions).mean()),
        correlation=correlation(std, np.concatenate([cell.error for cell in cells])),
        crps=float(np.concatenate([cell.crps for cell in cells]).mean()),
    )


def by_patient(cells: Sequence[SliceErrors]) -> dict[str, list[SliceErrors]]:
    """The usual slices of each patient.

    Args:
        cells: slices.
    """
    found: dict[str, list[SliceErrors]] = {}
    for cell in cells:
        if not cell.unlike:
            found.setdefault(cell.patient, []).append(cell)
    return found


def judgements(
    known: Sequence[SliceErrors], others: Sequence[SliceErrors] | None
) -> list[Judgement]:
    """The intervals of every patient.

    Args:
        known: slices that are calibrated on.
        others: slices of other patients; None to judge each patient after a calibration on the
            others.
    """
    if others is not None:
        return [judged(cells, known) for cells in by_patient(others).values()]
    patients = by_patient(known)
    return [
        judged(cells, [cell for cell in known if cell.patient != name])
        for name, cells in patients.items()
    ]


def rows(name: str, found: Sequence[Judgement]) -> Iterator[Number]:
    """The numbers of a family.

    Args:
        name: name of the family.
        found: the intervals of its patients.
    """
    mean = {key: np.mean([getattr(j, key) for j in found], axis=0) for key in vars(found[0])}
    yield Number(f"{name}: uncalibrated 90 % intervals hold", 100 * mean["uncalibrated"], "%")
    yield Number(f"{name}: 90 % intervals hold", 100 * mean["inside"], "%", 88, 92)
    fifths = 100 * mean["quintiles"]
    yield Number(f"{name}: least in a quintile of the width", fifths.min(), "%", 85, None)
    yield Number(f"{name}: most in a quintile of the width", fifths.max(), "%", None, 95)
    yield Number(f"{name}: regions inside their 90 % intervals", 100 * mean["regions"], "%", 85, 95)
    yield Number(f"{name}: correlation of std with |error|", float(mean["correlation"]))
    yield Number(f"{name}: CRPS", float(mean["crps"]))
    yield Number(f"{name}: patients", len(found))


def changed_config(
    name: str, settings: Settings, cohort: dict[str, Any] | None = None, preset: str | None = None
) -> Path:
    """A shipped calibration with another cohort or quicker settings, written beside its run.

    Args:
        name: name of the shipped configuration.
        settings: settings of the measurement.
        cohort: keys of the cohort that differ.
        preset: preset of the method; by default the configuration's.
    """
    content = yaml.safe_load(config_path(name, "eval").read_text())
    content["cohort"] |= cohort or {}
    if settings.limit is not None:
        content["cohort"]["limit"] = settings.limit
    for method in content["methods"]:
        method["prior"] |= {} if preset is None else {"preset": preset}
        if settings.steps is not None:
            method["prior"]["steps"] = settings.steps
    settings.runs.mkdir(parents=True, exist_ok=True)
    sort = "" if preset is None else f"-{preset}"
    path = settings.runs / f"{name}-{'others' if cohort else 'known'}{sort}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def errors(
    name: str, settings: Settings, cohort: dict[str, Any] | None = None, preset: str | None = None
) -> dict[str, list[SliceErrors]]:
    """The errors of the slices of each family; finished slices are kept.

    Args:
        name: see :func:`changed_config`.
        settings: see :func:`changed_config`.
        cohort: see :func:`changed_config`.
        preset: see :func:`changed_config`.
    """
    config = changed_config(name, settings, cohort, preset)
    run = CalibrationRun(workers=settings.processes)
    return measured_errors(config, settings.runs / config.stem, data=settings.data, run=run).cells


def are_there(name: str, settings: Settings, cohort: dict[str, Any] | None = None) -> bool:
    """Whether a calibration is asked for, and its data, or a cohort's, are in the data folder.

    Args:
        name: see :func:`changed_config`.
        settings: see :func:`changed_config`.
        cohort: see :func:`changed_config`.
    """
    if settings.cohorts and name not in settings.cohorts:
        return False
    wanted = cohort or yaml.safe_load(config_path(name, "eval").read_text())["cohort"]
    found = any(settings.data.glob(wanted["data"][0]))
    if not found:
        print(f"{name}: its data are not in {settings.data}")
    return found


def numbers(settings: Settings) -> Iterator[Number]:
    """All numbers of this part; cohorts that are not in the data folder are left out.

    Args:
        settings: settings of the measurement.
    """
    for name, cohort in COMPARISONS.items():
        if not are_there(name, settings):
            continue
        cohorts = [None] if cohort is None else [None, cohort]
        found = [errors(name, settings, changes) for changes in cohorts]
        for family, known in found[0].items():
            others = None if cohort is None else found[1][family]
            if len(by_patient(known)) < 1 + (others is None) or not by_patient(others or known):
                print(f"{name}, {family}: too few slices are like those of the prior")
                continue
            title = f"{name.removeprefix('calibrate-')}, {family}"
            yield from rows(title, judgements(known, others))

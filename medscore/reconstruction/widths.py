"""How wide the intervals of a reconstruction are, and what is guaranteed of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from medscore.likelihood.typicality import UNUSUAL
from medscore.reconstruction.condition import method_of
from medscore.uncertainty.intervals import student_multiple
from medscore.uncertainty.risk import patients_needed, smallest_multiple
from medscore.uncertainty.table import LEVELS, CalibrationTable, Condition, Family


@dataclass(frozen=True)
class Width:
    """The width of the intervals of a reconstruction.

    Attributes:
        level: share of the pixels that the intervals shall hold.
        samples: number of posterior samples.
        plain: the multiple of Student's t, which holds for exact posterior samples.
        multiple: multiple of the predictive deviation that an interval extends to either side.
        region_multiple: the same for the means of regions.
        family: name of the family that it was calibrated on; empty if it is not calibrated.
        guarantee: what is guaranteed, in one sentence; empty if it is not calibrated.
        reason: why it is not calibrated; empty if it is.
        table: the table that was used, for provenance.json.
    """

    level: float
    samples: int
    plain: float
    multiple: float
    region_multiple: float
    family: str = ""
    guarantee: str = ""
    reason: str = ""
    table: Mapping[str, Any] | None = None

    @property
    def calibrated(self) -> bool:
        """Whether the intervals are calibrated."""
        return not self.reason

    @property
    def factor(self) -> float:
        """The multiple over that of Student's t."""
        return self.multiple / self.plain

    @property
    def region_factor(self) -> float:
        """The same for regions."""
        return self.region_multiple / self.plain

    @property
    def words(self) -> str:
        """The width in one line."""
        if not self.calibrated:
            return (
                f"{100 * self.level:.4g} % intervals, uncalibrated, from {self.samples} samples by "
                f"Student's t: {self.reason}"
            )
        return (
            f"{100 * self.level:.4g} % intervals, calibrated on {self.family}, factor "
            f"{self.factor:.3g}: {self.guarantee}"
        )

    @property
    def description(self) -> str:
        """The width for the header of an image, which holds 79 characters."""
        state = f"calibrated on {self.family}" if self.calibrated else "uncalibrated"
        return f"{100 * self.level:.4g} % interval, factor {self.factor:.3g}, {state}"[:79]

    def record(self) -> dict[str, Any]:
        """The width for JSON."""
        return {
            "level": self.level, "calibrated": self.calibrated, "reason": self.reason or None,
            "family": self.family or None, "guarantee": self.guarantee or None,
            "factor": round(self.factor, 5), "region_factor": round(self.region_factor, 5),
            "multiple": round(self.multiple, 5), "samples": self.samples,
            "table": None if self.table is None else dict(self.table),
        }  # fmt: skip


def width_of(
    record: Mapping[str, Any],
    samples: int,
    level: float,
    table: CalibrationTable | None,
    *,
    pairs: bool = False,
) -> Width:
    """The width of the intervals of a reconstruction: calibrated if it belongs to a family.

    Args:
        record: record of the reconstruction.
        samples: number of posterior samples, two or more.
        level: share of the pixels that the intervals shall hold.
        table: calibration table of the prior, if there is one.
        pairs: whether samples 2j and 2j + 1 are a pair with opposite noise.
    """
    plain = student_multiple(level, samples, pairs=pairs)
    uncalibrated = Width(level, samples, plain, plain, plain)
    found = _family(record, samples, table)
    if isinstance(found, str):
        return _because(uncalibrated, found)
    assert table is not None
    pixels, regions = (_multiple(table, found, level, of) for of in ("ratios", "regions"))
    if not math.isfinite(pixels + regions):
        return _because(uncalibrated, _out_of_reach(table, found, level))
    guarantee = guarantee_of(table, len(found.patients), level)
    return Width(
        level, samples, plain, pixels, regions, found.name, guarantee, table=_used(table, found)
    )


def guarantee_of(table: CalibrationTable, patients: int, level: float) -> str:
    """What a calibrated interval guarantees a new patient of the family, in one sentence.

    Args:
        table: the table.
        patients: number of patients of the family.
        level: share of the pixels that the intervals shall hold.
    """
    n, alpha = patients, 1 - level
    if table.rule == "measured":
        bound = (n * alpha + 1) / (n + 1)
        return (
            f"at least {100 * level:.4g} % of the pixels of {n} patients are inside, and of a new "
            f"patient at most {100 * bound:.3g} % are expected to be outside"
        )
    outside = f"at most {100 * alpha:.4g} %"
    if table.rule == "expected":
        return f"of a new patient {outside} of the pixels are expected to be outside ({n} patients)"
    if table.rule == "patient":
        return (
            f"with probability {table.confidence:g}, {outside} of a new patient's pixels are "
            f"outside ({n} patients)"
        )
    return (
        f"with confidence {table.confidence:g}, of a new patient {outside} of the pixels are "
        f"expected to be outside ({n} patients)"
    )


def _family(
    record: Mapping[str, Any], samples: int, table: CalibrationTable | None
) -> Family | str:
    """The family of a reconstruction, or why it belongs to none."""
    if "condition" not in record:
        return "the method is no posterior sampling with a prior"
    if table is None:
        return "the prior has no calibration table"
    if record["prior"]["sha256"] != table.prior_sha256:
        return "the calibration table belongs to another prior"
    if record["prior"].get("covariance_sha256") != table.covariance_sha256:
        return "the calibration table belongs to another learned covariance of the prior"
    if reason := unlike(record):
        return reason
    condition, method = Condition(**record["condition"]), method_of(record)
    found = [(f.differences(condition, method, samples), f) for f in table.families]
    differences, nearest = min(found, key=lambda pair: len(pair[0]))
    if not differences:
        return nearest
    return f"unlike {nearest.name!r:.60}, the nearest calibrated family: {'; '.join(differences)}"


def unlike(record: Mapping[str, Any]) -> str:
    """How the image or its grid differs from those of the prior; empty if it does not."""
    if outside := record["grid"]["outside_the_domain"]:
        return str(outside[0])
    z = record.get("z") or []
    if any(abs(value) > UNUSUAL for value in z):
        worst = max(z, key=abs)
        return f"the image is unlike the prior's validation images (z {worst:+.1f})"
    for judgement in record.get("typicality") or []:
        if judgement["unusual"]:
            return (
                f"the image is unlike the prior's training images ({judgement['test']} test, z "
                f"{judgement['z']:+.1f})"
            )
    return ""


def _multiple(table: CalibrationTable, family: Family, level: float, of: str) -> float:
    quantiles = family.quantiles("regions" if of == "regions" else "ratios")
    return smallest_multiple(table.rule, LEVELS, quantiles, 1 - level, table.confidence)


def _out_of_reach(table: CalibrationTable, family: Family, level: float) -> str:
    least = 1 - LEVELS[-1]
    if 1 - level < least - 1e-12:
        return f"the table knows errors up to the level {LEVELS[-1]:g}"
    needed = patients_needed(table.rule, 1 - level, table.confidence)
    if needed > len(family.patients):
        return (
            f"the rule {table.rule} needs {needed} patients at this level, and {family.name!r:.60} "
            f"has {len(family.patients)}"
        )
    return f"no width holds the level in {family.name!r:.60}"


def _because(width: Width, reason: str) -> Width:
    return replace(width, reason=reason)


def _used(table: CalibrationTable, family: Family) -> dict[str, Any]:
    return {
        "prior": table.prior, "prior_sha256": table.prior_sha256, "data": list(table.data),
        "rule": table.rule, "confidence": table.confidence, "medscore": table.medscore,
        "patients": [patient.name for patient in family.patients],
    }  # fmt: skip

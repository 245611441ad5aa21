"""The calibration table of a prior: how wide intervals must be, by family of measurements.

It lies beside the prior as ``NAME.calibration.json``. For each family it holds, for each patient
that was calibrated on, the quantiles of the error over the predictive deviation
(:func:`medscore.uncertainty.intervals.ratios`): over the pixels of the body, and over the means of
random regions. Every level of an interval and every rule follows from them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from medscore.errors import MedscoreError
from medscore.io.files import atomic_write
from medscore.io.json_files import read_json
from medscore.io.opening import is_there
from medscore.io.specs import Strict, validated
from medscore.uncertainty.intervals import in_pairs
from medscore.uncertainty.risk import Rule

FORMAT = "medscore-calibration-1"

LEVELS: NDArray[np.float64] = np.array([*(k / 100 for k in range(1, 100)), 0.995])
"""Levels of the quantiles."""

LARGEST = 1e9
"""Ratio that stands for all larger ones, which no useful interval has."""

AGAIN = "make it again with `medscore calibrate`, or remove it"

Value = str | int | float | bool | None

RANGES = ("pixel_mm", "data_per_pixel", "noise")
"""Numbers of a condition, of which a family covers a range."""

DATA_SLACK, NOISE_SLACK, PIXEL_SLACK = 1.1, 1.5, 1.25
"""Factors by which a measurement may leave the range of the family in the number of data per pixel,
in the noise relative to the data, and in the pixel size."""


class Condition(Strict):
    """The condition of a measurement, as far as the width of intervals depends on it.

    Attributes:
        task: name of the task.
        modality: "CT" or "MR".
        rows: rows of the image.
        columns: columns of the image.
        pixel_mm: distance between the columns in mm.
        data_per_pixel: measured numbers over pixels; complex numbers count once.
        noise: root mean square of the noise standard deviation over that of the data.
    """

    task: str
    modality: str
    rows: int = Field(ge=1)
    columns: int = Field(ge=1)
    pixel_mm: float = Field(gt=0)
    data_per_pixel: float = Field(gt=0)
    noise: float = Field(ge=0)


class PatientErrors(Strict):
    """The errors of a patient relative to the predictive deviation.

    Attributes:
        name: what outputs call the patient.
        slices: number of slices.
        pixels: number of pixels of the body.
        ratios: quantiles of the ratios of the pixels, at ``LEVELS``.
        regions: quantiles of the ratios of the means of random regions, at ``LEVELS``.
    """

    name: str = Field(min_length=1)
    slices: int = Field(ge=1)
    pixels: int = Field(ge=1)
    ratios: tuple[float, ...]
    regions: tuple[float, ...]

    @model_validator(mode="after")
    def _increase(self) -> PatientErrors:
        for name in ("ratios", "regions"):
            values = np.asarray(getattr(self, name))
            if len(values) != len(LEVELS) or not (values >= 0).all() or (np.diff(values) < 0).any():
                raise ValueError(f"{name} are no {len(LEVELS)} increasing values from 0")
        return self


class Family(Strict):
    """The measurements, and the method, for which intervals were calibrated.

    Attributes:
        name: name of the family.
        conditions: conditions that were calibrated on, of each task and size of the image those
            of all smallest and of all largest numbers.
        method: settings of the method by name, without those that do not affect the posterior.
        samples: number of posterior samples.
        nfe: network evaluations per sample.
        patients: errors of each patient.
    """

    name: str
    conditions: tuple[Condition, ...] = Field(min_length=1)
    method: dict[str, Value]
    samples: int = Field(ge=2)
    nfe: int = Field(ge=1)
    patients: tuple[PatientErrors, ...] = Field(min_length=1)

    @property
    def pairs(self) -> bool:
        """Whether the samples are pairs with opposite noise."""
        return in_pairs(bool(self.method.get("pairs")), self.samples)

    @model_validator(mode="after")
    def _differ(self) -> Family:
        names = [patient.name for patient in self.patients]
        if len(set(names)) < len(names):
            raise ValueError(f"patients of the same name: {', '.join(names)}")
        return self

    def quantiles(self, of: Literal["ratios", "regions"] = "ratios") -> NDArray[np.float64]:
        """Quantiles of the patients' ratios, (patients, levels), with infinity for ``LARGEST``.

        Args:
            of: those of pixels or of regions.
        """
        values = np.array([getattr(patient, of) for patient in self.patients])
        return np.where(values >= LARGEST, np.inf, values)

    def differences(
        self, condition: Condition, method: dict[str, Value], samples: int
    ) -> list[str]:
        """What a measurement or a method differs in from those that were calibrated on.

        Args:
            condition: condition of the measurement.
            method: settings of the method.
            samples: number of posterior samples.
        """
        found = []
        for name in ("task", "modality", "rows", "columns"):
            known, own = {getattr(c, name) for c in self.conditions}, getattr(condition, name)
            if own not in known:
                found.append(f"{name} {own}, not {' or '.join(sorted(map(str, known)))}")
        for name, slack, what in (
            ("pixel_mm", PIXEL_SLACK, "mm per pixel"),
            ("data_per_pixel", DATA_SLACK, "measured numbers per pixel"),
            ("noise", NOISE_SLACK, "noise relative to the data"),
        ):
            values = [getattr(c, name) for c in self.conditions]
            low, high, own = min(values), max(values), getattr(condition, name)
            if not low / slack <= own <= high * slack:
                span = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
                found.append(f"{own:.3g} {what}, not {span}")
        if samples != self.samples:
            found.append(f"{samples} samples, not {self.samples}")
        for name in sorted({*method, *self.method}):
            ours, theirs = method.get(name), self.method.get(name)
            if ours != theirs:
                found.append(f"{name} {ours}, not {theirs}")
        return found


class CalibrationTable(Strict):
    """How wide intervals with a prior must be.

    Attributes:
        format: version of the format.
        prior: name of the prior.
        prior_sha256: hash of its weights.
        covariance_sha256: hash of its learned covariance; none if it had none.
        data: patterns of the files that were calibrated on.
        rule: what the widths are chosen for (:mod:`medscore.uncertainty.risk`).
        confidence: probability of the bound, of the rules that have one.
        families: the families of measurements.
        medscore: version of medscore.
    """

    format: Literal["medscore-calibration-1"] = "medscore-calibration-1"
    prior: str
    prior_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    covariance_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    data: tuple[str, ...]
    rule: Rule = "measured"
    confidence: float = Field(default=0.9, gt=0, lt=1)
    families: tuple[Family, ...] = Field(min_length=1)
    medscore: str


def quantiles_of(ratios: NDArray[np.floating]) -> tuple[float, ...]:
    """Quantiles of ratios at ``LEVELS``, each rounded up to six digits.

    At a quantile, at least its level of the ratios is no larger.

    Args:
        ratios: ratios, (n,).
    """
    found = np.quantile(np.asarray(ratios, dtype=np.float64), LEVELS, method="inverted_cdf")
    found = np.minimum(found, LARGEST)
    scale = 10.0 ** (5 - np.floor(np.log10(np.maximum(found, 1e-12))))
    raised = np.ceil(found * scale - 1e-6) / scale
    return tuple(float(f"{value:.6g}") for value in np.maximum.accumulate(raised))


def beside(prior_file: Path) -> Path:
    """The file with the calibration table of a prior.

    Args:
        prior_file: the prior's checkpoint.
    """
    return prior_file.with_name(f"{prior_file.stem}.calibration.json")


def read_table(path: Path, sha256: str) -> CalibrationTable:
    """Read the calibration table of a prior.

    Args:
        path: the file.
        sha256: hash of the prior's weights.

    Raises:
        MedscoreError: there is no such file, it is damaged, or it belongs to another prior.
    """
    table = validated(CalibrationTable, read_json(path, hint=AGAIN), path)
    if table.prior_sha256 != sha256:
        raise MedscoreError(
            f"is the calibration table of other weights than the prior's, of {table.prior!r:.60}",
            where=path, hint="use the table of this prior, or leave it out",
        )  # fmt: skip
    return table


def table_beside(prior_file: Path, sha256: str) -> CalibrationTable | None:
    """The calibration table that lies beside a prior; None if there is none.

    Args:
        prior_file: the prior's checkpoint.
        sha256: hash of the prior's weights.

    Raises:
        MedscoreError: as :func:`read_table`.
    """
    path = beside(prior_file)
    return read_table(path, sha256) if is_there(path) else None


def write_table(path: Path, table: CalibrationTable) -> None:
    """Write a calibration table, atomically.

    Args:
        path: file to write.
        table: the table.
    """
    atomic_write(path, (table.model_dump_json(indent=1) + "\n").encode())

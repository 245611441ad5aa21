"""The settings that all parts of the benchmark of error bars share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Settings of a measurement.

    Attributes:
        data: folder of the development data.
        runs: folder of finished slices.
        limit: largest number of slices of a cohort; all by default.
        steps: steps of the sampler; the method's by default.
        processes: number of processes.
        cohorts: names of the calibrations whose slices are judged; all by default.
    """

    data: Path
    runs: Path
    limit: int | None = None
    steps: int | None = None
    processes: int = 1
    cohorts: tuple[str, ...] = ()

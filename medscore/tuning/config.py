"""Configurations of searches for a method's parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from medscore.evaluation.config import CohortSpec, MethodSpec, MetricSpec, TaskSpec
from medscore.io.specs import Name, Strict, validated
from medscore.io.yaml_files import read_yaml
from medscore.tuning.space import Range, grid_size, is_grid

MOST_TRIALS = 100_000
"""Largest number of trials of a search, and of combinations of a grid."""

Score = Literal["psnr", "ssim", "held-out", "sure"]


class TuningSpec(Strict):
    """A search for the settings of one method on one task.

    Attributes:
        name: name of the search.
        method: the method, with the parameters that stay fixed.
        search: range of each searched parameter, such as ``conditioner.zeta``.
        cohort: slices to tune on; not needed for measurement files.
        task: measurement to simulate; not needed for measurement files.
        trials: largest number of settings to try.
        score: score that is maximised; ``held-out`` and ``sure`` need no references.
        folds: number of splits of every slice for ``held-out``.
        metric: convention of PSNR and SSIM.
        seed: seed of the search and of the measurement noise.
    """

    name: Name
    method: MethodSpec
    search: dict[str, Range] = Field(min_length=1)
    cohort: CohortSpec | None = None
    task: TaskSpec | None = None
    trials: int = Field(default=100, gt=0, le=MOST_TRIALS)
    score: Score = "ssim"
    folds: int = Field(default=1, ge=1, le=8)
    metric: MetricSpec = MetricSpec(convention="ct")
    seed: int = Field(default=0, ge=0, lt=2**31)

    @model_validator(mode="after")
    def _can_be_searched(self) -> TuningSpec:
        if self.method.supervised is not None:
            raise ValueError("a supervised method has nothing to tune except its training")
        if is_grid(self.search) and grid_size(self.search) > MOST_TRIALS:
            raise ValueError(
                f"search has {grid_size(self.search):,} combinations, at most {MOST_TRIALS:,} are "
                "searched: leave out values, or give low and high"
            )
        return self


def read_tuning(path: Path) -> TuningSpec:
    """Read and validate a search.

    Args:
        path: YAML file.

    Raises:
        MedscoreError: the file does not exist, is not YAML, or has an unknown, missing or invalid
            key.
    """
    return validated(TuningSpec, read_yaml(path, like="configs/tune/pc-ct-23.yaml"), path)

"""Configurations of searches for a method's parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from medscore.evaluation.config import CohortSpec, MethodSpec, MetricSpec, TaskSpec
from medscore.io.specs import Name, Strict, read_yaml, validated
from medscore.tuning.space import Range

Score = Literal["psnr", "ssim", "held-out", "sure"]


class TuningSpec(Strict):
    """A search for the settings of one method on one task.

    Attributes:
        name: name of the search.
        method: the method, with the parameters that stay fixed.
        search: range of each parameter that is searched, such as ``conditioner.zeta``.
        cohort: the slices; not needed where measurement files are given.
        task: the measurement; not needed where measurement files are given.
        trials: number of settings to try; of a grid, all are tried.
        score: what is maximised; ``held-out`` and ``sure`` need no references.
        folds: number of splits of every slice for ``held-out``.
        metric: the convention of PSNR and SSIM.
        seed: seed of the search and of the measurement noise.
    """

    name: Name
    method: MethodSpec
    search: dict[str, Range] = Field(min_length=1)
    cohort: CohortSpec | None = None
    task: TaskSpec | None = None
    trials: int = Field(default=100, gt=0)
    score: Score = "ssim"
    folds: int = Field(default=1, ge=1, le=8)
    metric: MetricSpec = MetricSpec(convention="ct")
    seed: int = Field(default=0, ge=0, lt=2**31)

    @model_validator(mode="after")
    def _can_be_searched(self) -> TuningSpec:
        if self.method.supervised is not None:
            raise ValueError("a supervised method has nothing to tune but its training")
        return self


def read_tuning(path: Path) -> TuningSpec:
    """Read and validate a search.

    Raises:
        MedscoreError: no such file, not YAML, an unknown, missing or ill-typed key.
    """
    return validated(TuningSpec, read_yaml(path, like="configs/tune/pc-ct-23.yaml"), path)

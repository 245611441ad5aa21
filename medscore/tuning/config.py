"""What ``medscore tune`` is told."""

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
        cohort, task: what is measured; not needed where a measurement file is given.
        search: by parameter of the method, what it may be. trials: how many settings are tried; of
            a grid, all are. score: what is best; ``held-out`` and ``sure`` need no references.
        folds: of ``held-out``, how many splits of every slice.
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

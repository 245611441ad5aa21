"""What ``medscore evaluate`` and ``medscore tune`` are told: cohort, tasks, methods, metric."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from medscore.io.specs import Name, Strict, read_yaml, validated
from medscore.measurements.spec import ScanSpec

EXAMPLE = "configs/eval/sparse-ct.yaml"


class CohortSpec(Strict):
    """Which slices; see :func:`medscore.datasets.collections.cohort.read_cohort`.

    Attributes:
        data: patterns below the data folder. size: slices are reduced to it. spacing_mm: of pixels
            as the files have them, where they do not say. limit: at most so many slices.
    """

    modality: Literal["CT", "MR"]
    data: tuple[str, ...] = Field(min_length=1)
    size: int = Field(default=128, ge=8)
    spacing_mm: float | None = Field(default=None, gt=0)
    limit: int | None = Field(default=None, gt=0)


class TaskSpec(Strict):
    """A measurement, by the name that the tables give it."""

    name: str
    scan: ScanSpec


class SamplingSpec(Strict):
    """A score prior and how to sample from it; what is not said is as in the preset.

    Attributes:
        prior: shipped, or a path; by default the modality's. noise, precision and the rest are as
            in :class:`medscore.registry.presets.Settings`.
    """

    preset: str = "fast"
    prior: str | None = None
    sampler: str | None = None
    conditioner: str | None = None
    steps: int | None = None
    grid: str | None = None
    snr: float | None = None
    lam: float | None = None
    samples: int = 8
    seed: int = 0
    noise: str = "recorded"
    precision: str = "bf16"


class MethodSpec(Strict):
    """A method, one of three sorts, by the name that the tables give it.

    Attributes:
        prior: sampling with a score prior. baseline: parameters of a baseline, with its ``kind``.
        supervised: a recipe of ``configs/supervised`` by name, or one by path; the network is
            trained where it is not yet there.
        at: by task, parameters that differ there. tasks: that it is used on, if not all.
    """

    name: str
    prior: SamplingSpec | None = None
    baseline: dict[str, Any] | None = None
    supervised: str | None = None
    at: dict[str, dict[str, Any]] = Field(default_factory=dict)
    tasks: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _one_sort(self) -> MethodSpec:
        given = [name for name in ("prior", "baseline", "supervised") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(
                f"method {self.name!r} has {' and '.join(given) or 'nothing'}, expected one of "
                "prior, baseline and supervised"
            )
        if self.supervised and self.at:
            raise ValueError(f"method {self.name!r} is supervised: it has nothing to set by task")
        return self


class MetricSpec(Strict):
    """A convention of :data:`medscore.metrics.convention.CONVENTIONS` by name, and what differs
    from it.

    Cells are single slices, so conventions over volumes are refused.
    """

    convention: str
    roi: Literal["full", "circle"] | None = None
    data_range: Literal["fixed", "slice"] | None = None
    window: Literal["uniform", "gaussian"] | None = None


class Abscissa(Strict):
    """The number that a plot has along its axis: a field of the scan, in words."""

    of: Literal["views", "arc", "acceleration", "coils"]
    label: str


class EvaluationSpec(Strict):
    """A comparison.

    Attributes:
        title: of the report. cohort, tasks, methods, metric: what is compared, on what, and how.
        ours: name of the method that others are compared with. plot: along which number of the
            tasks; by default tasks are ticks. pictures: slices that pictures are made of.
        seed: of the measurements' noise.
    """

    name: Name
    title: str
    cohort: CohortSpec
    tasks: tuple[TaskSpec, ...] = Field(min_length=1)
    methods: tuple[MethodSpec, ...] = Field(min_length=1)
    metric: MetricSpec
    ours: str
    plot: Abscissa | None = None
    pictures: int = Field(default=2, ge=0)
    seed: int = Field(default=0, ge=0, lt=2**31)

    @model_validator(mode="after")
    def _names_fit(self) -> EvaluationSpec:
        tasks, methods = [t.name for t in self.tasks], [m.name for m in self.methods]
        for what, names in (("tasks", tasks), ("methods", methods)):
            if len(set(names)) < len(names):
                raise ValueError(f"{what} of the same name: {', '.join(names)}")
        if self.ours not in methods:
            raise ValueError(f"ours is {self.ours!r}, expected one of {', '.join(methods)}")
        for method in self.methods:
            for name in (*method.at, *(method.tasks or ())):
                if name not in tasks:
                    raise ValueError(
                        f"method {method.name!r} speaks of task {name!r}, there are "
                        f"{', '.join(tasks)}"
                    )
        return self


def read_evaluation(path: Path) -> EvaluationSpec:
    """Read and validate a comparison.

    Raises:
        MedscoreError: no such file, not YAML, an unknown, missing or ill-typed key.
    """
    return validated(EvaluationSpec, read_yaml(path, like=EXAMPLE), path)

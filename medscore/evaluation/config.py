"""Configurations of comparisons: cohort, tasks, methods, metric."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from medscore.io.specs import LARGEST_SIDE, Name, Strict, validated
from medscore.io.yaml_files import read_yaml
from medscore.measurements.spec import ScanSpec
from medscore.registry.settings import MOST_SAMPLES, MOST_STEPS

EXAMPLE = "configs/eval/sparse-ct.yaml"


class CohortSpec(Strict):
    """The slices of a comparison; see :func:`medscore.datasets.collections.cohort.read_cohort`.

    Attributes:
        modality: CT or MR.
        data: file patterns relative to the data folder.
        size: rows and columns that slices are reduced to.
        spacing_mm: pixel spacing in mm of files that do not state it.
        channel: volume of 4-D NIfTI files, from 0.
        series: DICOM series of folders with several: UID, description or a part of it.
        resample: interpolate uneven or tilted DICOM slices onto an even, upright grid.
        accept: kinds of images that are used all the same; see
            :func:`medscore.datasets.load.load_image`.
        limit: largest number of slices; equally spaced slices are taken.
    """

    modality: Literal["CT", "MR"]
    data: tuple[str, ...] = Field(min_length=1)
    size: int = Field(default=128, ge=8, le=LARGEST_SIDE)
    spacing_mm: float | None = Field(default=None, gt=0)
    channel: int | None = Field(default=None, ge=0)
    series: str | None = None
    resample: bool = False
    accept: tuple[str, ...] = ()
    limit: int | None = Field(default=None, gt=0, lt=2**31)


class TaskSpec(Strict):
    """A simulated measurement.

    Attributes:
        name: name of the task in tables.
        scan: specification of the scan.
    """

    name: str
    scan: ScanSpec


class SamplingSpec(Strict):
    """Settings of posterior sampling with a score prior; the preset supplies what is not set.

    Attributes:
        preset: name of the preset.
        prior: name of a shipped prior, or a path; by default the modality's.
        sampler: see :class:`medscore.registry.presets.Settings`.
        conditioner: see :class:`medscore.registry.presets.Settings`.
        steps: see :class:`medscore.registry.presets.Settings`.
        grid: see :class:`medscore.registry.presets.Settings`.
        snr: short for the parameter ``sampler.snr``.
        lam: short for the parameter ``conditioner.lam``.
        samples: number of posterior samples per slice.
        seed: seed of all random draws.
        noise: noise of the measurements.
        precision: auto, float32 or bf16.
        pairs: see :class:`medscore.registry.presets.Settings`.
        across_slices: see :class:`medscore.registry.presets.Settings`.
        allow_mismatch: use the prior on the grid of the measurement, even outside its image domain.
        contrast: class of the images that the prior is told, such as the MR contrast T1, or
            ``estimate``; by default none.
        set: parameters of the methods by dotted name.
    """

    preset: str = "fast"
    prior: str | None = None
    sampler: str | None = None
    conditioner: str | None = None
    steps: int | None = Field(default=None, ge=1, le=MOST_STEPS)
    grid: str | None = None
    snr: float | None = None
    lam: float | None = None
    samples: int = Field(default=8, ge=1, le=MOST_SAMPLES)
    seed: int = 0
    noise: str = "recorded"
    precision: str = "auto"
    pairs: bool | None = None
    across_slices: str | None = None
    allow_mismatch: bool = False
    contrast: str | None = None
    set: dict[str, Any] = Field(default_factory=dict)


class MethodSpec(Strict):
    """A method: sampling with a prior, a baseline, or a supervised network.

    Attributes:
        name: name of the method in tables.
        prior: settings of posterior sampling.
        baseline: ``kind`` of the baseline, and its parameters.
        supervised: name of a recipe in ``configs/supervised``, or the path of one; the network is
            trained if it does not exist yet.
        at: parameters that differ on some tasks, by task name.
        tasks: names of the tasks that the method is used on; by default all.
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
                f"method {self.name!r} has {' and '.join(given) or 'none'}, expected one "
                "of prior, baseline and supervised"
            )
        if self.supervised and self.at:
            raise ValueError(f"method {self.name!r} is supervised and has no parameters by task")
        return self


class MetricSpec(Strict):
    """A convention of :data:`medscore.metrics.convention.CONVENTIONS` with optional changes.

    Cells are single slices, so conventions over volumes are refused.

    Attributes:
        convention: name of the convention.
        roi: region that is compared.
        data_range: origin of the data range.
        window: window of SSIM.
    """

    convention: str
    roi: Literal["full", "circle"] | None = None
    data_range: Literal["fixed", "slice"] | None = None
    window: Literal["uniform", "gaussian"] | None = None


class Abscissa(Strict):
    """The horizontal axis of plots.

    Attributes:
        of: field of the scan that is plotted.
        label: label of the axis.
    """

    of: Literal["views", "arc", "acceleration", "coils"]
    label: str


class EvaluationSpec(Strict):
    """A comparison.

    Attributes:
        name: name of the comparison.
        title: title of the report.
        cohort: slices to reconstruct.
        tasks: measurements to simulate.
        methods: methods to compare.
        metric: convention of the metrics.
        ours: name of the method that the others are compared with.
        plot: horizontal axis of plots; by default the names of the tasks.
        pictures: number of slices that are shown in figures.
        seed: seed of the measurement noise.
    """

    name: Name
    title: str
    cohort: CohortSpec
    tasks: tuple[TaskSpec, ...] = Field(min_length=1)
    methods: tuple[MethodSpec, ...] = Field(min_length=1)
    metric: MetricSpec
    ours: str
    plot: Abscissa | None = None
    pictures: int = Field(default=2, ge=0, le=10_000)
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
                        f"method {method.name!r} refers to task {name!r}, expected one of "
                        f"{', '.join(tasks)}"
                    )
        return self


def read_evaluation(path: Path) -> EvaluationSpec:
    """Read and validate a comparison.

    Args:
        path: YAML file.

    Raises:
        MedscoreError: the file does not exist, is not YAML, or has an unknown, missing or invalid
            key.
    """
    return validated(EvaluationSpec, read_yaml(path, like=EXAMPLE), path)

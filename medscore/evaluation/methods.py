"""Reconstruction methods from a comparison's configuration, and the computation of one cell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

import medscore
from medscore.datasets.collections.cohort import Case
from medscore.errors import MedscoreError
from medscore.evaluation.cells import Cell
from medscore.evaluation.config import MethodSpec, MetricSpec, SamplingSpec, TaskSpec
from medscore.io.specs import faults
from medscore.measurements.measurement import Measurement
from medscore.measurements.simulation import simulate_scan
from medscore.measurements.spec import choices
from medscore.measurements.tasks import Grid, metal_pixels
from medscore.metrics.image_quality import CONVENTIONS, Convention, Quality, qualities
from medscore.reconstruction.baselines.base import BaselineMethod
from medscore.reconstruction.baselines.build import baseline
from medscore.reconstruction.method import Method
from medscore.reconstruction.result import Solve
from medscore.reconstruction.run import choose_method
from medscore.reconstruction.supervised.contract import SUPERVISED
from medscore.reconstruction.supervised.method import Supervised
from medscore.registry.scans import check_task


@dataclass(frozen=True)
class Work:
    """One cell to compute; it can be sent to another process.

    Attributes:
        case: the slice.
        number: index of the slice in the cohort, which determines the seed of its noise.
        task: the measurement.
        method: the method.
        metric: convention of the metrics.
        seed: seed of the measurement noise.
        where: the configuration, for error messages.
        network: file of a supervised method.
        keep: whether to return the images.
    """

    case: Case
    number: int
    task: TaskSpec
    method: MethodSpec
    metric: MetricSpec
    seed: int
    where: Path
    network: Path | None = None
    keep: bool = False

    @property
    def fixed(self) -> list[Any]:
        """Everything that the result depends on, including the names in it."""
        chosen = method_of(self.method, self.task.name, self.network)
        return [
            medscore.__version__,
            (self.case.label, self.case.group, self.case.digest, self.number),
            (self.task.name, self.task.scan.model_dump(mode="json")),
            (self.method.name, parameters(self.method, self.task.name)),
            chosen.all_weights(self.case.volume.modality),
            self.metric.model_dump(mode="json"),
            self.seed,
        ]


def cell_of(work: Work) -> tuple[Cell, dict[str, NDArray[np.float32]] | None]:
    """Measure and reconstruct one slice and compute its metrics.

    Args:
        work: the cell to compute.

    Returns:
        The cell and, if they are kept, its images (H, W) by name.

    Raises:
        MedscoreError: an invalid task or method; the message names both.
    """
    try:
        m = measure(work.case, work.task, work.number + work.seed * 1_000_003, work.where)
        solve = solver(work.method, work.task.name, work.network)
        found = solve(m)
    except MedscoreError as error:
        raise MedscoreError(
            f"{work.method.name}, {work.task.name}, {work.case.name}: {error}"
        ) from error
    metal = metal_of(work.case, work.task)
    reference = work.case.volume.values
    images = {work.method.name: found.mean[0]}
    if found.samples.shape[1] > 1:
        images[f"{work.method.name}, one sample"] = found.samples[0, 0]
    rows = {
        name: judge(image[None], reference, work.metric, metal) for name, image in images.items()
    }
    if found.samples.shape[1] > 1:
        images[f"{work.method.name}, std"] = found.std[0]
    cell = Cell(
        task=work.task.name,
        method=work.method.name,
        case=work.case.label,
        patient=work.case.group,
        qualities=rows,
        nfe=found.nfe,
        operator_calls=found.operator_calls,
        residual=float(found.residual.max()),
        seconds=found.seconds,
        precision=found.record.get("precision", {}).get("used", ""),
    )
    return cell, images if work.keep else None


def metal_of(case: Case, task: TaskSpec) -> NDArray[np.bool_] | None:
    """The pixels (H, W) of a case that metal implants cover; None for a task without implants.

    Args:
        case: the slice.
        task: the measurement.
    """
    _, rows, columns = case.volume.values.shape
    grid = Grid(rows, columns, case.volume.spacing[0], case.volume.modality)
    found = metal_pixels(task.scan.task, grid, choices(task.scan))
    return None if found is None else found.numpy()


def measure(case: Case, task: TaskSpec, seed: int, where: Path) -> Measurement:
    """Simulate a task's measurement of a case, from its own matrix where the task measures that.

    Args:
        case: the slice.
        task: the measurement.
        seed: seed of the noise.
        where: the configuration, for error messages.

    Raises:
        MedscoreError: no such task, a task of another modality, or invalid options.
    """
    scan = task.scan
    check_task(scan, case.volume.modality, where)
    return simulate_scan(
        case.native or case.volume, scan.task, choices(scan), noise_name=scan.noise, seed=seed,
        size=None if case.native is None else case.volume.values.shape[-1],
    )  # fmt: skip


def convention(spec: MetricSpec) -> Convention:
    """The convention of the metrics that a specification describes.

    Args:
        spec: name of a convention with optional changes.

    Raises:
        MedscoreError: no such convention, or a convention over volumes.
    """
    if spec.convention not in CONVENTIONS:
        raise MedscoreError(
            f"no convention {spec.convention!r}", hint=f"use one of: {', '.join(CONVENTIONS)}"
        )
    changed = spec.model_dump(exclude={"convention"}, exclude_none=True)
    found = replace(CONVENTIONS[spec.convention], **changed)
    if "volume" in (found.over, found.data_range):
        raise MedscoreError(
            f"convention {spec.convention!r} compares volumes, but cells are single slices",
            hint="use ct or mr, or set data_range: slice",
        )
    return found


def judge(
    image: NDArray[np.floating],
    reference: NDArray[np.floating],
    spec: MetricSpec,
    metal: NDArray[np.bool_] | None,
) -> Quality:
    """The quality of a slice.

    Args:
        image: the slice, (1, H, W).
        reference: ground truth, (1, H, W).
        spec: convention of the metrics.
        metal: pixels (H, W) that metal covers; None without metal.
    """
    (found,) = qualities(image, reference, convention(spec), metal=metal)
    return found


def parameters(method: MethodSpec, task: str) -> dict[str, Any]:
    """All parameters of a method on a task.

    Args:
        method: the method.
        task: name of the task.
    """
    own = method.prior.model_dump() if method.prior is not None else method.baseline or {}
    here = method.at.get(task, {})
    if method.prior is None:
        return {**own, **here}
    dotted = {name: value for name, value in here.items() if "." in name}
    plain = {name: value for name, value in here.items() if "." not in name}
    set_ = {**own.pop("set"), **plain.pop("set", {}), **dotted}
    return {**own, **plain, "set": set_}


def method_of(spec: MethodSpec, task: str, network: Path | None = None) -> Method:
    """The method of a specification on a task.

    Args:
        spec: the method.
        task: name of the task.
        network: file of a supervised method.

    Raises:
        MedscoreError: unknown parameters, or values out of range.
    """
    given = parameters(spec, task)
    if spec.supervised is not None:
        assert network is not None
        return BaselineMethod(Supervised(network=network), weights=_network_hash(network))
    if spec.prior is not None:
        fields = SamplingSpec.model_validate(given).model_dump()
        return choose_method(parameters=fields.pop("set"), **fields)
    if not isinstance(kind := given.pop("kind", None), str):
        raise MedscoreError("a baseline has no kind", hint="set one, such as kind: fista-tv")
    return baseline(kind, given)


def solver(method: MethodSpec, task: str, network: Path | None = None) -> Solve:
    """The method on a task, as a function of a measurement.

    Args:
        method: the method.
        task: name of the task.
        network: file of a supervised method.

    Raises:
        MedscoreError: unknown parameters.
    """
    chosen = method_of(method, task, network)
    return lambda m: chosen.reconstruct(m)


def verify(
    method: MethodSpec, task: str, m: Measurement, where: Path, network: Path | None = None
) -> None:
    """Reject a method that cannot be used on a measurement, before anything slow begins.

    Args:
        method: the method; a supervised method is only checked if its network is given.
        task: name of the task.
        m: a measurement of the task.
        where: the configuration, for error messages.
        network: file of a supervised method.

    Raises:
        MedscoreError: an invalid method; the message names it.
    """
    if method.supervised is not None and network is None:
        return
    try:
        method_of(method, task, network).check(m, where)
    except ValidationError as error:
        raise MedscoreError(
            f"method {method.name!r}: {faults(error)}", where=where, hint="correct the value"
        ) from None
    except MedscoreError as error:
        raise MedscoreError(
            f"method {method.name!r}: {error.what}", where=where, hint=error.hint
        ) from error


@lru_cache(maxsize=32)
def _network_hash(path: Path) -> str:
    return SUPERVISED.read(path).sha256

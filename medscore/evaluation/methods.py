"""From a method as a configuration says it to one that reconstructs, and one cell of a table."""

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
from medscore.io.specs import first_fault
from medscore.io.weights import read_weights
from medscore.measurements.measurement import Measurement
from medscore.measurements.simulation import simulate_scan
from medscore.measurements.spec import choices
from medscore.measurements.tasks import Grid, metal_pixels
from medscore.metrics.image_quality import CONVENTIONS, Convention, Quality, qualities
from medscore.priors.catalogue import DEFAULT_PRIORS, prior_path
from medscore.priors.checkpoint import load_prior, read_checkpoint
from medscore.priors.contract import DataContract
from medscore.priors.network import NetworkPrior
from medscore.reconstruction.baselines.registry import baseline
from medscore.reconstruction.compatibility import check_compatible
from medscore.reconstruction.plans import sampling_plan
from medscore.reconstruction.posterior import Plan, reconstruct
from medscore.reconstruction.result import Reconstruction, Solve
from medscore.reconstruction.supervised.contract import SUPERVISED
from medscore.reconstruction.supervised.method import Supervised
from medscore.registry.noise import noise_deviation
from medscore.registry.presets import Settings, choose
from medscore.registry.scans import check_task


@dataclass(frozen=True)
class Work:
    """One cell to be found; everything in it can be sent to another process.

    Attributes:
        case, number: the slice and its place in the cohort, which seeds its noise. at: parameters
            of the method for this task. network: file of a supervised method. keep: return images.
        where: the configuration, for errors.
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
        """All that the result depends on, and its names."""
        return [
            medscore.__version__,
            (self.case.name, self.case.patient, self.case.digest, self.number),
            (self.task.name, self.task.scan.model_dump(mode="json")),
            (self.method.name, parameters(self.method, self.task.name)),
            identity(self.method, self.network, self.case.volume.modality),
            self.metric.model_dump(mode="json"),
            self.seed,
        ]


def cell_of(work: Work) -> tuple[Cell, dict[str, NDArray[np.float32]] | None]:
    """Measure, reconstruct and judge one slice; and the images (H, W) if they are kept.

    Raises:
        MedscoreError: what is wrong with task or method, and which.
    """
    try:
        m = measure(work.case, work.task, work.number + work.seed * 1_000_003, work.where)
        solve = solver(work.method, work.task.name, work.where, work.network)
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
        case=work.case.name,
        patient=work.case.patient,
        qualities=rows,
        nfe=found.nfe,
        operator_calls=found.operator_calls,
        residual=float(found.residual.max()),
        seconds=found.seconds,
    )
    return cell, images if work.keep else None


def metal_of(case: Case, task: TaskSpec) -> NDArray[np.bool_] | None:
    """The pixels (H, W) of a case that the task's implants lie in; None for a task without any."""
    _, rows, columns = case.volume.values.shape
    grid = Grid(rows, columns, case.volume.spacing[0], case.volume.modality)
    found = metal_pixels(task.scan.task, grid, choices(task.scan))
    return None if found is None else found.numpy()


def measure(case: Case, task: TaskSpec, seed: int, where: Path) -> Measurement:
    """Simulate the task's scan of a case.

    Raises:
        MedscoreError: no such task, not of this modality, or choices that it cannot do.
    """
    scan = task.scan
    check_task(scan, case.volume.modality, where)
    return simulate_scan(case.volume, scan.task, choices(scan), noise_name=scan.noise, seed=seed)


def convention(spec: MetricSpec) -> Convention:
    """The convention that is meant.

    Raises:
        MedscoreError: no such convention, or parts that do not go together.
    """
    if spec.convention not in CONVENTIONS:
        raise MedscoreError(
            f"no convention {spec.convention!r}", hint=f"use one of: {', '.join(CONVENTIONS)}"
        )
    changed = spec.model_dump(exclude={"convention"}, exclude_none=True)
    found = replace(CONVENTIONS[spec.convention], **changed)
    if "volume" in (found.over, found.data_range):
        raise MedscoreError(
            f"convention {spec.convention!r} is of volumes, slices are compared here",
            hint="use ct or mr, or give it data_range: slice",
        )
    return found


def judge(
    image: NDArray[np.floating],
    reference: NDArray[np.floating],
    spec: MetricSpec,
    metal: NDArray[np.bool_] | None,
) -> Quality:
    """The quality of a slice (1, H, W)."""
    (found,) = qualities(image, reference, convention(spec), metal=metal)
    return found


def parameters(method: MethodSpec, task: str) -> dict[str, Any]:
    """All parameters of a method on a task."""
    own = method.prior.model_dump() if method.prior is not None else method.baseline or {}
    return {**own, **method.at.get(task, {})}


def solver(method: MethodSpec, task: str, where: Path, network: Path | None = None) -> Solve:
    """The method on a task.

    Args:
        network: file of a supervised one.

    Raises:
        MedscoreError: parameters that the method does not have.
    """
    given = parameters(method, task)
    if method.prior is not None:
        return sampling(settings_of(SamplingSpec.model_validate(given)), where)
    if method.supervised is not None:
        assert network is not None
        return Supervised(network=network).reconstruct
    chosen = baseline(given)
    return lambda m: chosen.reconstruct(m, noise_deviation("recorded", m, where))


def settings_of(spec: SamplingSpec) -> Settings:
    """The settings of a sampling method.

    Raises:
        MedscoreError: no such preset, or numbers out of range.
    """
    settings = choose(spec.preset, **spec.model_dump(exclude={"preset"}))
    settings.check()
    return settings


def sampling(settings: Settings, where: Path) -> Solve:
    """Sampling with a prior; the prior of the modality by default."""

    def solve(m: Measurement) -> Reconstruction:
        prior, contract, plan = ready(settings, m, where)
        return reconstruct(m, prior, contract, plan)

    return solve


def ready(
    settings: Settings, m: Measurement, where: Path
) -> tuple[NetworkPrior, DataContract, Plan]:
    """The prior, its contract and how to sample from it for a measurement.

    Raises:
        MedscoreError: a name that is not known, or a prior that does not fit.
    """
    name = settings.prior or DEFAULT_PRIORS[m.modality]
    prior = _prior(prior_path(name))
    assert prior.contract is not None
    check_compatible(prior.contract, m, prior_name=name, where=where)
    noise = noise_deviation(settings.noise, m, where)
    return prior, prior.contract, sampling_plan(settings, prior, noise)


def verify(method: MethodSpec, task: str, m: Measurement, where: Path) -> None:
    """Refuse a method that cannot be used on such a measurement, before anything long begins.

    Raises:
        MedscoreError: naming it and what is wrong.
    """
    try:
        given = parameters(method, task)
        if method.prior is not None:
            ready(settings_of(SamplingSpec.model_validate(given)), m, where)
        elif method.baseline is not None:
            baseline(given)
    except ValidationError as error:
        raise MedscoreError(
            f"method {method.name!r}: {first_fault(error)}", where=where, hint="correct it"
        ) from None
    except MedscoreError as error:
        raise MedscoreError(
            f"method {method.name!r}: {error.what}", where=where, hint=error.hint
        ) from error


def identity(method: MethodSpec, network: Path | None, modality: str) -> str:
    """Which weights a method uses, by their hash; empty where it has none."""
    if method.prior is not None:
        name = method.prior.prior or DEFAULT_PRIORS[modality]
        return _hash(prior_path(name))
    return "" if network is None else _network_hash(network)


@lru_cache(maxsize=8)
def _prior(path: Path) -> NetworkPrior:
    return load_prior(path)


@lru_cache(maxsize=32)
def _hash(path: Path) -> str:
    return read_checkpoint(path).sha256


@lru_cache(maxsize=32)
def _network_hash(path: Path) -> str:
    return read_weights(path, SUPERVISED).sha256

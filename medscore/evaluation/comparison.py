"""The parts of a comparison: its cohort, its checks, its cells and overridden parameters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medscore.datasets.collections.cohort import Case, read_cohort
from medscore.datasets.selection import selection
from medscore.errors import MedscoreError
from medscore.evaluation import methods
from medscore.evaluation.cells import Store, key_of
from medscore.evaluation.config import CohortSpec, EvaluationSpec, MethodSpec, TaskSpec
from medscore.measurements.spec import choices
from medscore.measurements.tasks import TASKS, measures_finer
from medscore.registry.presets import choose, parse_parameters
from medscore.registry.settings import OWNERS


def cohort(
    spec: CohortSpec, data: Path, tasks: Sequence[TaskSpec], limit: int | None = None
) -> list[Case]:
    """The slices of a comparison, in their own matrix too if a task measures that.

    Args:
        spec: specification of the slices.
        data: folder of the data.
        tasks: tasks that measure the slices.
        limit: largest number of slices, instead of the specification's.

    Raises:
        MedscoreError: the noise model of a task is unknown, or as
            :func:`~medscore.datasets.collections.cohort.read_cohort`.
    """
    return read_cohort(
        spec.data,
        root=data,
        modality=spec.modality,
        size=spec.size,
        spacing_mm=spec.spacing_mm,
        chosen=selection(spec.series, spec.resample, spec.channel, spec.accept),
        limit=limit or spec.limit,
        native=any(
            task.scan.task in TASKS and measures_finer(task.scan.task, choices(task.scan))
            for task in tasks
        ),
    )


def with_patterns(spec: CohortSpec, patterns: Sequence[str]) -> CohortSpec:
    """The specification of other files.

    Args:
        spec: specification of the slices.
        patterns: patterns of the files; none keeps the specification's.
    """
    return spec.model_copy(update={"data": tuple(patterns)}) if patterns else spec


def check(spec: EvaluationSpec, cases: Sequence[Case], where: Path) -> None:
    """Reject invalid tasks and methods before anything slow begins.

    Args:
        spec: the comparison.
        cases: its slices.
        where: the configuration, for error messages.

    Raises:
        MedscoreError: naming the task or the method.
    """
    for task in spec.tasks:
        m = methods.measure(cases[0], task, 0, where)
        for method in spec.methods:
            if method.tasks is None or task.name in method.tasks:
                methods.verify(method, task.name, m, where)


def pieces(
    spec: EvaluationSpec, cases: Sequence[Case], where: Path, networks: dict[str, Path]
) -> list[methods.Work]:
    """All cells of a comparison, task by task and method by method.

    Args:
        spec: the comparison.
        cases: its slices.
        where: the configuration, for error messages.
        networks: files of the supervised methods, by the method's name.
    """
    return [
        methods.Work(
            case=case,
            number=number,
            task=task,
            method=method,
            metric=spec.metric,
            seed=spec.seed,
            where=where,
            network=networks.get(method.name),
            keep=number < spec.pictures,
        )
        for task in spec.tasks
        for method in spec.methods
        if method.tasks is None or task.name in method.tasks
        for number, case in enumerate(cases)
    ]


def pictured(
    store: Store, work: Sequence[methods.Work]
) -> dict[str, list[tuple[Case, dict[str, object]]]]:
    """The cases to show in figures, with the images of all methods, by task.

    Args:
        store: the finished cells.
        work: all cells.
    """
    found: dict[str, dict[int, tuple[Case, dict[str, object]]]] = {}
    for piece in work:
        if piece.keep:
            of_task = found.setdefault(piece.task.name, {})
            _, images = of_task.setdefault(piece.number, (piece.case, {}))
            images |= store.images(key_of(*piece.fixed))
    return {task: list(pairs.values()) for task, pairs in found.items()}


def overridden(spec: EvaluationSpec, parameters: Sequence[str]) -> EvaluationSpec:
    """A comparison with parameters of its methods changed.

    Args:
        spec: the comparison.
        parameters: "[METHOD:]NAME=VALUE" each; without METHOD it applies to all sampling methods
            that have the parameter, which must be at least one.

    Raises:
        MedscoreError: no such method, or no method that has the parameter.
    """
    for text in parameters:
        name, colon, _ = text.partition("=")[0].rpartition(":")
        own = text[len(name) + 1 :] if colon else text
        ((key, value),) = parse_parameters([own]).items()
        known = [m for m in spec.methods if m.supervised is None]
        if colon and name not in {m.name for m in known}:
            raise MedscoreError(
                f"`set` {text!r}: no method {name!r}",
                hint=f"use one of: {', '.join(m.name for m in known)}",
            )
        changed = {
            m.name: with_parameter(m, key, value)
            for m in known
            if (m.name == name if colon else m.prior is not None and _has(m, key))
        }
        if not changed:
            raise MedscoreError(
                f"`set` {text!r}: no sampling method has the parameter {key!r}",
                hint="see `medscore methods`, or name the method as in METHOD:NAME=VALUE",
            )
        methods_ = tuple(changed.get(m.name, m) for m in spec.methods)
        spec = spec.model_copy(update={"methods": methods_})
    return spec


def with_parameter(method: MethodSpec, key: str, value: Any) -> MethodSpec:
    """A method with one parameter changed.

    Args:
        method: a sampling method or a baseline.
        key: name of the parameter, with its owner for a sampling method (``sampler.eta``).
        value: its value.
    """
    if method.prior is not None:
        prior = method.prior.model_copy(update={"set": {**method.prior.set, key: value}})
        return method.model_copy(update={"prior": prior})
    return method.model_copy(update={"baseline": {**(method.baseline or {}), key: value}})


def _has(method: MethodSpec, key: str) -> bool:
    """True if a sampling method has the parameter ``key``, such as ``sampler.eta``."""
    assert method.prior is not None
    fields = method.prior.model_dump(exclude={"set"})
    chosen = choose(fields.pop("preset"), **fields)
    owner, _, name = key.partition(".")
    return owner in OWNERS and name in OWNERS[owner].parameters(getattr(chosen, owner))

"""A comparison: its cohort, its checks, its cells, and filling the table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medscore.datasets.collections.cohort import Case, read_cohort
from medscore.evaluation import methods
from medscore.evaluation.cells import Store, key_of
from medscore.evaluation.config import CohortSpec, EvaluationSpec


def cohort(spec: CohortSpec, data: Path, limit: int | None = None) -> list[Case]:
    """The slices to judge on.

    Args:
        limit: instead of the specification's.

    Raises:
        MedscoreError: as :func:`~medscore.datasets.collections.cohort.read_cohort`.
    """
    return read_cohort(
        spec.data,
        root=data,
        modality=spec.modality,
        size=spec.size,
        spacing_mm=spec.spacing_mm,
        limit=limit or spec.limit,
    )


def check(spec: EvaluationSpec, cases: Sequence[Case], where: Path) -> None:
    """Refuse tasks and methods that cannot be before anything long begins.

    Raises:
        MedscoreError: naming the task or the method.
    """
    for task in spec.tasks:
        m = methods.measure(cases[0], task, 0, where)
        for method in spec.methods:
            methods.verify(method, task.name, m, where)


def pieces(
    spec: EvaluationSpec, cases: Sequence[Case], where: Path, networks: dict[str, Path]
) -> list[methods.Work]:
    """All cells of the comparison, task by task and method by method."""
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
    """By task, the cases that are pictured and all methods' images of them."""
    found: dict[str, dict[int, tuple[Case, dict[str, object]]]] = {}
    for piece in work:
        if piece.keep:
            of_task = found.setdefault(piece.task.name, {})
            _, images = of_task.setdefault(piece.number, (piece.case, {}))
            images |= store.images(key_of(*piece.fixed))
    return {task: list(pairs.values()) for task, pairs in found.items()}

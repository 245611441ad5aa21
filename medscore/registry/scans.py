"""From a scan as a configuration says it to one that measures."""

from __future__ import annotations

from pathlib import Path

from medscore.errors import MedscoreError
from medscore.measurements.spec import ScanSpec, choices
from medscore.measurements.tasks import NEEDS, TASKS, Grid, Scan


def check_task(spec: ScanSpec, modality: str, where: Path) -> None:
    """Refuse a task that there is not, or not of images of this modality.

    Args:
        where: the file that asks for it.

    Raises:
        MedscoreError: either.
    """
    if spec.task not in TASKS:
        raise MedscoreError(
            f"no task {spec.task!r}", where=where, hint=f"use one of: {', '.join(TASKS)}"
        )
    if NEEDS.get(spec.task, modality) != modality:
        raise MedscoreError(
            f"task {spec.task} measures {NEEDS[spec.task]}, the images are {modality}",
            where=where,
            hint="use a task of that modality",
        )


def build(spec: ScanSpec, grid: Grid, where: Path) -> Scan:
    """The scan of images on a grid; ``where`` is the file that asks for it.

    Raises:
        MedscoreError: as :func:`check_task`, or choices that the task cannot do.
    """
    check_task(spec, grid.modality, where)
    return TASKS[spec.task](grid, choices(spec))

"""Construction of scans from their specification in a configuration."""

from __future__ import annotations

from pathlib import Path

from medscore.errors import MedscoreError
from medscore.measurements.spec import ScanSpec, choices
from medscore.measurements.tasks import NEEDS, OPTIONS, TASKS, Grid, Scan


def check_task(spec: ScanSpec, modality: str, where: Path) -> None:
    """Reject an unknown task, a task of another modality, or options of another task.

    Args:
        spec: specification of the scan.
        modality: modality of the images.
        where: the configuration, for error messages.

    Raises:
        MedscoreError: an unknown task, a task of another modality, or an option that the task does
            not have.
    """
    if spec.task not in TASKS:
        raise MedscoreError(
            f"no task {spec.task!r}", where=where, hint=f"use one of: {', '.join(TASKS)}"
        )
    if NEEDS.get(spec.task, modality) != modality:
        raise MedscoreError(
            f"task {spec.task} measures {NEEDS[spec.task]}, but the images are {modality}",
            where=where,
            hint=f"use a task for {modality}",
        )
    own = (*OPTIONS[spec.task], "task", "noise", "seed")
    for name in sorted(spec.model_fields_set - set(own)):
        raise MedscoreError(
            f"`{name}` is not an option of task {spec.task}",
            where=where,
            hint="leave it out",
        )


def build(spec: ScanSpec, grid: Grid, where: Path) -> Scan:
    """A scan of images on a grid.

    Args:
        spec: specification of the scan.
        grid: matrix size, pixel spacing and modality of the images.
        where: the configuration, for error messages.

    Raises:
        MedscoreError: as :func:`check_task`, or invalid choices for the task.
    """
    check_task(spec, grid.modality, where)
    return TASKS[spec.task](grid, choices(spec))

"""The rows of benchmarks/conditioners.py: tasks, solvers, and the problems of each task."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from methods import RANKED, REFERENCE
from problems import Problem, ct, ct_slices, ct_train_slices, mri, mri_slices, mri_train_slices

from medscore.datasets.volume import Volume
from medscore.reconstruction.baselines.total_variation import FISTATV
from medscore.types import Images

STORE = Path(__file__).with_name("conditioners")
"""Folder of the stored rows."""

THESIS = "CT 23 views, thesis protocol"
"""The only CT task without noise, measured with the projector and on the grid of the
reconstruction."""

CT_TASKS: dict[str, Callable[[Volume, int], Problem]] = {
    **{
        f"CT {views} views, {photons} photons": ct("sparse-ct", f"poisson:{photons}", views=views)
        for views, photons in ((10, "1e5"), (20, "1e5"), (23, "1e5"), (45, "1e5"), (90, "1e4"))
    },
    "CT 120 degrees, 1e5 photons": ct("limited-angle", "poisson:1e5", arc=120.0),
    "MAR, 1e5 photons": ct("mar", "poisson:1e5"),
    "MAR 45 views, 1e5 photons": ct("sparse-mar", "poisson:1e5", views=45),
    THESIS: ct("sparse-ct", "none", views=23),
}
MRI_TASKS = {"MRI 4x": mri(4.0), "MRI 8x": mri(8.0)}

NOISE_FREE = (THESIS, *MRI_TASKS)
"""Tasks whose samples must fit the data."""

TV = "FISTA-TV"
"""Total variation with a tuned weight, and the library's number of iterations."""


@dataclass(frozen=True)
class Row:
    """One row of the table: a task and its solver.

    Attributes:
        task: a name of ``CT_TASKS`` or ``MRI_TASKS``.
        solver: a name of ``METHODS``, or ``TV``.
        samples: posterior samples per slice.
        together: slices sampled in one batch, for tasks whose slices share the operator.
    """

    task: str
    solver: str
    samples: int = 1
    together: int = 1

    @property
    def name(self) -> str:
        """Name of the file that stores the row."""
        return f"{self.task} - {self.solver}"


ROWS = [
    *(Row(task, "DiffPIR", 8) for task in (*CT_TASKS, *MRI_TASKS)),
    *(Row(task, TV) for task in CT_TASKS),
    *(Row(task, solver, 2, 10) for task in MRI_TASKS for solver in RANKED),
    Row(THESIS, REFERENCE, 8),
    Row("MRI 8x", REFERENCE, 8),
]


@cache
def slices(task: str, data: Path, train: int = 0) -> list[Any]:
    """The slices of a task.

    Args:
        task: a name of ``CT_TASKS`` or ``MRI_TASKS``.
        data: folder of the development data.
        train: the number of slices of training patients; 0 for all validation slices.
    """
    if task in MRI_TASKS:
        return mri_train_slices(data, train) if train else mri_slices(data)
    return ct_train_slices(data, train) if train else ct_slices(data)


@cache
def problem(task: str, data: Path, number: int, train: int = 0) -> Problem:
    """The problem of one slice.

    Args:
        task: a name of ``CT_TASKS`` or ``MRI_TASKS``.
        data: folder of the development data.
        number: index of the slice.
        train: the number of slices of training patients; 0 for all validation slices.
    """
    image = slices(task, data, train)[number]
    return (MRI_TASKS[task] if task in MRI_TASKS else CT_TASKS[task])(image, number)


def fista_tv(found: Problem, weight: float) -> Images:
    """Total-variation reconstruction (1, 1, H, W) in the prior's range.

    Args:
        found: the problem.
        weight: weight of the total variation.
    """
    return FISTATV(weight=weight).solve(found.operator, found.y)


def stored(path: Path, otherwise: Any) -> Any:
    """The content of a JSON file.

    Args:
        path: the file.
        otherwise: what to return if there is none.
    """
    return json.loads(path.read_text()) if path.exists() else otherwise

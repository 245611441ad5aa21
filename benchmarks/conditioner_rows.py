"""The rows of benchmarks/conditioners.py: tasks, solvers, and the problems of each task."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from methods import RANKED, REFERENCE
from problems import (
    PHOTONS,
    Problem,
    ct_slices,
    ct_train_slices,
    limited,
    metal,
    mri,
    mri_slices,
    mri_train_slices,
    views,
)

from medscore.operators.base import Operator
from medscore.reconstruction.baselines.total_variation import FISTATV

STORE = Path(__file__).with_name("conditioners")
"""Folder of the stored rows."""

CT_TASKS: dict[str, Callable[[torch.Tensor, float, int], Problem]] = {
    "CT 10 views": views(10), "CT 20 views": views(20), "CT 23 views": views(23),
    "CT 45 views": views(45), f"CT 90 views, {PHOTONS:g} photons": views(90, PHOTONS),
    "CT 120 degrees": limited(120.0), "MAR": metal(None), "MAR, 45 views": metal(45),
}  # fmt: skip
MRI_TASKS = {"MRI 4x": mri(4.0), "MRI 8x": mri(8.0)}

TV_ITERATIONS = 300
"""Iterations of FISTA-TV, both for choosing the weights and for the rows."""

NOISY = (f"CT 90 views, {PHOTONS:g} photons",)

WEIGHTED = "FISTA-TV, weighted"
"""FISTA-TV with each ray weighted by its noise standard deviation, as the score-based methods
weight it; plain FISTA-TV weights all rays equally."""


@dataclass(frozen=True)
class Row:
    """One row of the table: a task and its solver.

    Attributes:
        task: a name of ``CT_TASKS`` or ``MRI_TASKS``.
        solver: a name of ``METHODS``, or FISTA-TV.
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
    *(Row(task, "FISTA-TV") for task in CT_TASKS),
    *(Row(task, WEIGHTED) for task in NOISY),
    *(Row(task, solver, 2, 10) for task in MRI_TASKS for solver in RANKED),
    Row("CT 23 views", REFERENCE, 8),
    Row("MRI 8x", REFERENCE, 8),
]


@cache
def problems(task: str, data: Path, train: int = 0) -> list[Problem]:
    """The slices of a task.

    Args:
        task: a name of ``CT_TASKS`` or ``MRI_TASKS``.
        data: folder of the development data.
        train: the number of slices of training patients; 0 for all validation slices.
    """
    if task in MRI_TASKS:
        images = mri_train_slices(data, train) if train else mri_slices(data)
        return [MRI_TASKS[task](image, i) for i, image in enumerate(images)]
    slices = ct_train_slices(data, train) if train else ct_slices(data)
    return [CT_TASKS[task](hu, spacing, i) for i, (hu, spacing) in enumerate(slices)]


def fista_tv(operator: Operator, y: torch.Tensor, weight: float) -> torch.Tensor:
    """Total-variation reconstruction.

    Args:
        operator: the measurement process.
        y: measurements in the prior's range.
        weight: weight of the total variation.

    Returns:
        Images (batch, 1, H, W) in the prior's range.
    """
    return FISTATV(weight=weight, iterations=TV_ITERATIONS).solve(operator, y)


def measured(problem: Problem, name: str) -> tuple[Operator, torch.Tensor]:
    """Operator and measurements for total variation.

    Args:
        problem: the problem.
        name: ``WEIGHTED`` for whitened measurements, another name for plain ones.
    """
    if name == WEIGHTED or problem.plain is None:
        return problem.operator, problem.y
    return problem.plain


def stored(path: Path, otherwise: Any) -> Any:
    """The content of a JSON file.

    Args:
        path: the file.
        otherwise: what to return if there is none.
    """
    return json.loads(path.read_text()) if path.exists() else otherwise

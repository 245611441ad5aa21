"""The output files of a comparison, with a report in Markdown."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch

import medscore
from medscore.datasets.collections.cohort import Case
from medscore.evaluation.checkout import commit
from medscore.evaluation.config import EvaluationSpec
from medscore.evaluation.figures import plot
from medscore.evaluation.pictures import comparison
from medscore.evaluation.table import (
    METRICS,
    Row,
    gap_table,
    losses,
    slices_csv,
    table_csv,
    wide_table,
)
from medscore.io.files import atomic_write
from medscore.io.identity import without_folder
from medscore.io.machine import processor
from medscore.metrics.image_quality import Convention

TARGET = "the image that was measured, reduced to the matrix of the comparison"


@dataclass(frozen=True)
class Outcome:
    """A finished comparison.

    Attributes:
        spec: the comparison.
        convention: convention of the metrics.
        cases: slices of the comparison.
        rows: rows of the tables.
        pictured: cases to show in figures, with their images by name, by task.
    """

    spec: EvaluationSpec
    convention: Convention
    cases: Sequence[Case]
    rows: Sequence[Row]
    pictured: dict[str, list[tuple[Case, dict[str, object]]]]


def write_report(
    folder: Path, outcome: Outcome, command: str, *, keep_identity: bool = False
) -> list[Path]:
    """Write table.csv, slices.csv, metrics.json, report.md, plots and figures.

    Args:
        folder: output folder.
        outcome: the finished comparison.
        command: command that reproduces the report, for its first lines.
        keep_identity: whether slices.csv states the names of files and patients too.

    Returns:
        The paths of the files.
    """
    names = {case.label: (case.file, case.patient) for case in outcome.cases}
    files = {
        "table.csv": table_csv(outcome.rows, outcome.convention, TARGET).encode(),
        "slices.csv": slices_csv(outcome.rows, names if keep_identity else None).encode(),
        "metrics.json": _cards(outcome),
    }
    pictures = _plots(outcome) | _pictures(outcome)
    files |= pictures
    files["report.md"] = markdown(outcome, command, list(pictures)).encode()
    for name, content in files.items():
        atomic_write(folder / name, content)
    return [folder / name for name in files]


def markdown(outcome: Outcome, command: str, pictures: Sequence[str]) -> str:
    """The text of the report.

    Args:
        outcome: the finished comparison.
        command: command that reproduces the report.
        pictures: names of the image files to show.
    """
    spec, rows = outcome.spec, outcome.rows
    patients = len({case.patient for case in outcome.cases})
    worse, own = losses(rows, spec.ours), commit()
    origin = ", ".join(f"`{without_folder(pattern)}`" for pattern in spec.cohort.data)
    lines = [
        f"## {spec.title}",
        "",
        f"Written by `{command}` on {date.today().isoformat()}, medscore {medscore.__version__}"
        f"{'' if own is None else f', commit {own}'}; {machine()}.",
        "",
        f"Cohort: {len(outcome.cases)} slices of {patients} patients, {spec.cohort.size} x "
        f"{spec.cohort.size} pixels, from {origin}.",
        "",
        f"Metric: {outcome.convention}. Target: {TARGET}. Mean ± standard deviation over slices; "
        "the best mean of a column in bold.",
        "",
        *wide_table(rows),
        "",
        f"Our method is *{spec.ours}*. Differences are paired by slice, with the 95 % bootstrap "
        "interval of their mean; whole patients are resampled:",
        "",
        *gap_table(rows, spec.ours),
        "",
        "Where ours loses: " + (f"{'; '.join(worse)}." if worse else "nowhere in this table."),
        "",
    ]
    for name in pictures:
        lines += [f"![{name.removesuffix('.png')}]({name})", ""]
    return "\n".join(lines)


def machine() -> str:
    """The processor, the number of cores, and the versions of torch and Python."""
    return (
        f"{processor()}, {os.cpu_count()} cores, torch {torch.__version__}, "
        f"Python {platform.python_version()}"
    )


def _cards(outcome: Outcome) -> bytes:
    cards = [
        {"task": row.task, "method": row.name, **row.card(outcome.convention, TARGET).record()}
        for row in outcome.rows
    ]
    return (json.dumps(cards, indent=1, allow_nan=False) + "\n").encode()


def _plots(outcome: Outcome) -> dict[str, bytes]:
    spec = outcome.spec
    along, label = None, ""
    if spec.plot is not None:
        along = {t.name: float(getattr(t.scan, spec.plot.of)) for t in spec.tasks}
        label = spec.plot.label
    if len(spec.tasks) < 2:
        return {}
    return {
        f"{spec.name}-{metric}.png": plot(outcome.rows, metric, along=along, label=label)
        for metric in METRICS
    }


def _pictures(outcome: Outcome) -> dict[str, bytes]:
    found = {}
    for place, (_, pairs) in enumerate(outcome.pictured.items(), start=1):
        for number, (case, images) in enumerate(pairs, start=1):
            name = f"{outcome.spec.name}-task{place}-slice{number}.png"
            found[name] = comparison(images, case.volume)  # type: ignore[arg-type]
    return found

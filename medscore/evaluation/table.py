"""The tables of a comparison: rows of cells, means, paired differences, and lost comparisons."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medscore.evaluation.cells import Cell
from medscore.metrics.card import Card, card, mean_interval
from medscore.metrics.image_quality import Convention, Quality

METRICS = {"psnr": "PSNR (dB)", "ssim": "SSIM"}
"""The metrics of the tables; higher is better for both."""


@dataclass(frozen=True)
class Row:
    """One method, or a single sample of it, on one task.

    Attributes:
        task: name of the task.
        name: name of the row.
        cells: results of the slices in the order of the cohort.
    """

    task: str
    name: str
    cells: tuple[Cell, ...]

    @property
    def qualities(self) -> list[Quality]:
        """The quality of each slice."""
        return [cell.qualities[self.name] for cell in self.cells]

    @property
    def patients(self) -> list[str]:
        """The patient of each slice."""
        return [cell.patient for cell in self.cells]

    def values(self, metric: str) -> list[float]:
        """The value of a metric for each slice.

        Args:
            metric: ``psnr``, ``ssim`` or ``nmse``.
        """
        return [float(getattr(quality, metric)) for quality in self.qualities]

    def mean(self, metric: str) -> float:
        """The mean of a metric over slices.

        Args:
            metric: ``psnr``, ``ssim`` or ``nmse``.
        """
        return float(np.mean(self.values(metric)))

    def card(self, convention: Convention, target: str) -> Card:
        """The metric card; its intervals resample whole patients.

        Args:
            convention: convention of the metrics.
            target: description of the reference images.
        """
        return card(self.qualities, convention, target=target, groups=self.patients)

    @property
    def nfe(self) -> int:
        """Network evaluations per sample."""
        return self.cells[0].nfe

    @property
    def seconds(self) -> float:
        """The mean wall time per slice."""
        return float(np.mean([cell.seconds for cell in self.cells]))


def rows_of(cells: Sequence[Cell]) -> list[Row]:
    """The rows of a table, in the order of first occurrence of tasks and methods.

    Args:
        cells: results of all slices.
    """
    tasks = dict.fromkeys(cell.task for cell in cells)
    names = dict.fromkeys(name for cell in cells for name in cell.qualities)
    rows = []
    for task in tasks:
        for name in names:
            own = tuple(c for c in cells if c.task == task and name in c.qualities)
            if own:
                rows.append(Row(task, name, own))
    return rows


def losses(rows: Sequence[Row], ours: str) -> list[str]:
    """Sentences about all methods that are at least as good as our method on a task.

    Args:
        rows: rows of the table.
        ours: name of the row of our method.
    """
    found = []
    for mine in (row for row in rows if row.name == ours):
        for row in rows:
            if row.task != mine.task or row.cells[0].method == mine.cells[0].method:
                continue
            for metric, title in METRICS.items():
                gap = mine.mean(metric) - row.mean(metric)
                if not gap > 0:
                    found.append(f"{row.task}: {row.name} has {title} higher by {-gap:.4g}")
    return found


def table_csv(rows: Sequence[Row], convention: Convention, target: str) -> str:
    """The table as CSV with one line per row, without values that depend on the machine's speed.

    Args:
        rows: rows of the table.
        convention: convention of the metrics.
        target: description of the reference images.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ["task", "method", "count"]
    for metric in ("psnr", "ssim", "nmse"):
        head += [f"{metric}_{what}" for what in ("mean", "std", "low95", "high95")]
    writer.writerow([*head, "nfe"])
    for row in rows:
        found = row.card(convention, target).record()
        line = [row.task, row.name, str(len(row.cells))]
        for metric in ("psnr", "ssim", "nmse"):
            s = found[metric]
            low, high = s["interval"] or (None, None)
            line += [_number(v) for v in (s["mean"], s["std"], low, high)]
        writer.writerow([*line, str(row.nfe)])
    return out.getvalue()


def slices_csv(rows: Sequence[Row], names: Mapping[str, tuple[str, str]] | None = None) -> str:
    """The results as CSV with one line per slice and row.

    Args:
        rows: rows of the table.
        names: names of file and patient by slice, for two more columns; by default there are none.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ["task", "method", "slice", "patient", "psnr", "ssim", "nmse", "nfe", "residual"]
    writer.writerow([*head, *(() if names is None else ("file", "name"))])
    for row in rows:
        for cell, q in zip(row.cells, row.qualities, strict=True):
            line = [row.task, row.name, cell.case, cell.patient]
            line += [_number(v) for v in (q.psnr, q.ssim, q.nmse)]
            named = () if names is None else names[cell.case]
            writer.writerow([*line, str(cell.nfe), f"{cell.residual:.3e}", *named])
    return out.getvalue()


def wide_table(rows: Sequence[Row]) -> list[str]:
    """A Markdown table of means and standard deviations over slices, methods by tasks.

    Args:
        rows: rows of the table.
    """
    tasks, names = (list(dict.fromkeys(values)) for values in (
        [row.task for row in rows], [row.name for row in rows]
    ))  # fmt: skip
    at = {(row.task, row.name): row for row in rows}
    heads = [f"{task}: {title}" for task in tasks for title in METRICS.values()]
    lines = ["| method | " + " | ".join(heads) + " |", "| --- |" + " --- |" * len(heads)]
    best = {
        (task, metric): max(row.mean(metric) for row in rows if row.task == task)
        for task in tasks
        for metric in METRICS
    }
    for name in names:
        fields = []
        for task in tasks:
            for metric in METRICS:
                row = at.get((task, name))
                text = "" if row is None else _spread(row, metric)
                if row is not None and row.mean(metric) == best[task, metric]:
                    text = f"**{text}**"
                fields.append(text)
        lines.append(f"| {name} | " + " | ".join(fields) + " |")
    return lines


def gap_table(rows: Sequence[Row], ours: str) -> list[str]:
    """A Markdown table of NFE, seconds per slice, and differences of our method to the others.

    Differences are paired by slice and have the 95 % interval of their mean.

    Args:
        rows: rows of the table.
        ours: name of the row of our method.
    """
    lines = [
        "| task | method | NFE | s per slice | our method minus this, PSNR (dB) | SSIM |",
        "| --- | --- | ---: | ---: | --- | --- |",
    ]
    mine = {row.task: row for row in rows if row.name == ours}
    for row in rows:
        gaps = ["", ""]
        if row.name != ours and row.task in mine:
            gaps = [_gap(mine[row.task], row, metric) for metric in METRICS]
        nfe = row.nfe or ""
        lines.append(
            f"| {row.task} | {row.name} | {nfe} | {row.seconds:.3g} | {' | '.join(gaps)} |"
        )
    return lines


def _gap(mine: Row, row: Row, metric: str) -> str:
    theirs = {cell.case: value for cell, value in zip(row.cells, row.values(metric), strict=True)}
    pairs = [
        (value - theirs[cell.case], cell.patient)
        for cell, value in zip(mine.cells, mine.values(metric), strict=True)
        if cell.case in theirs
    ]
    values = np.array([value for value, _ in pairs])
    digits = 2 if metric == "psnr" else 4
    finite = bool(np.isfinite(values).all())
    ends = mean_interval(values, [patient for _, patient in pairs]) if finite else None
    text = f"{np.mean(values):+.{digits}f}"
    return text if ends is None else f"{text} [{ends[0]:+.{digits}f}, {ends[1]:+.{digits}f}]"


def _spread(row: Row, metric: str) -> str:
    digits = 2 if metric == "psnr" else 3
    values = row.values(metric)
    deviation = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{deviation}"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if math.isfinite(value) else "inf"

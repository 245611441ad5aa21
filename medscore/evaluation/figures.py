"""Plots of a metric against a parameter of the tasks, as in Song 2022, Fig. 8.5 and B.52."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np

from medscore.evaluation.table import METRICS, Row


def plot(
    rows: Sequence[Row], metric: str, *, along: Mapping[str, float] | None, label: str
) -> bytes:
    """A PNG plot of the mean over slices, with the standard deviation as a shaded band.

    Args:
        rows: rows of the table.
        metric: ``psnr`` or ``ssim``.
        along: horizontal position of each task, by name; None for equal distances.
        label: label of the horizontal axis.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    tasks = list(dict.fromkeys(row.task for row in rows))
    places = {task: float(i) for i, task in enumerate(tasks)} if along is None else along
    for style, name in enumerate(dict.fromkeys(row.name for row in rows)):
        own = sorted((row for row in rows if row.name == name), key=lambda r: places[r.task])
        x = [places[row.task] for row in own]
        mean = np.array([row.mean(metric) for row in own])
        deviation = np.array([np.std(row.values(metric)) for row in own])
        (line,) = axes.plot(x, mean, marker="osv^D<>pP*X"[style % 11], label=name)
        axes.fill_between(x, mean - deviation, mean + deviation, alpha=0.12, color=line.get_color())
    if along is None:
        axes.set_xticks(list(places.values()), tasks)
    else:
        axes.set_xscale("log")
        ticks = sorted(set(places.values()))
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    axes.set_xlabel(label)
    axes.set_ylabel(METRICS[metric])
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()

"""Measured values with their targets, as benchmarks print, tabulate and store them."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

COLUMNS = "{:<76} {:>10} {:<4} {:<9} {}"
HEADER = COLUMNS.format("metric", "value", "", "target", "pass")
"""Column headers of ``str(Number)``."""


@dataclass(frozen=True)
class Number:
    """A measured value and its target.

    Attributes:
        name: the metric, with its unit in brackets unless ``unit`` holds it.
        value: the measured value.
        unit: unit of the value, printed after it.
        at_least: lower bound of the target; ``None`` for no lower bound.
        at_most: upper bound of the target; ``None`` for no upper bound.
    """

    name: str
    value: float
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool:
        """True if the value lies within the bounds, or if there is no target."""
        low = self.at_least is None or self.value >= self.at_least
        return bool(low and (self.at_most is None or self.value <= self.at_most))

    @property
    def target(self) -> str:
        """The bounds as text, for example ``<= 0.001``; empty without a target."""
        bounds = ((">=", self.at_least), ("<=", self.at_most))
        return " ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)

    @property
    def verdict(self) -> str:
        """``yes`` or ``NO``; empty without a target."""
        return ("yes" if self.met else "NO") if self.target else ""

    def __str__(self) -> str:
        cells = self.name, f"{self.value:.5g}", self.unit, self.target, self.verdict
        return COLUMNS.format(*cells).rstrip()


def table(numbers: Iterable[Number]) -> list[str]:
    """The lines of a Markdown table.

    Args:
        numbers: the rows, in order.
    """
    lines = ["| metric | value | target | pass |", "| --- | --- | --- | --- |"]
    for n in numbers:
        verdict = f"**{n.verdict}**" if n.verdict == "NO" else n.verdict
        value = f"{n.value:.4g} {n.unit}".rstrip()
        lines.append(f"| {n.name} | {value} | {n.target} | {verdict} |")
    return lines


def show(numbers: Iterable[Number]) -> list[Number]:
    """Print numbers in a table with column headers, each as soon as it is available.

    Args:
        numbers: the rows; an iterator is printed while it is consumed.

    Returns:
        The rows.
    """
    print(HEADER)
    shown = []
    for number in numbers:
        print(number, flush=True)
        shown.append(number)
    return shown


def exit_code(numbers: Iterable[Number], *, check: bool) -> int:
    """The exit code of a benchmark.

    Args:
        numbers: all measured values.
        check: whether missed targets count, as with ``--check``.

    Returns:
        1 if ``check`` is set and a target is missed, else 0.
    """
    return int(check and not all(n.met for n in numbers))


def to_json(numbers: Iterable[Number]) -> list[dict[str, Any]]:
    """Rows for a JSON file.

    Args:
        numbers: the rows, in order.
    """
    return [{**asdict(n), "met": n.met} for n in numbers]


def from_json(rows: Iterable[dict[str, Any]]) -> list[Number]:
    """The numbers that :func:`to_json` stored.

    Args:
        rows: its rows.
    """
    return [Number(**{k: v for k, v in row.items() if k != "met"}) for row in rows]


def finished(
    parts: Mapping[str, Callable[[], Iterable[Number]]],
    file: Path | None,
    only: Sequence[str] | None,
) -> list[Number]:
    """Measure the parts of a benchmark that are not stored yet, and show all that are.

    Args:
        parts: the measurements of every part, by name.
        file: JSON file of finished parts, written after each; None to store nothing.
        only: names of the parts to measure, again if they are stored; by default all.
    """
    kept = json.loads(file.read_text()) if file and file.exists() else {}
    for name in only or parts:
        if name not in kept or only:
            kept[name] = to_json(parts[name]())
        if file:
            file.write_text(json.dumps(kept, indent=1) + "\n")
    return show(number for name in parts if name in kept for number in from_json(kept[name]))


def machine() -> str:
    """Architecture, cores, threads and versions, for the head of a page."""
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )

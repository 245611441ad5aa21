"""Settings of the methods of benchmarks/conditioners.py, chosen on slices of training patients."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from conditioner_rows import MRI_TASKS, ROWS, STORE, THESIS, TV, Row, fista_tv, problem, stored
from methods import METHODS, RANKED, REFERENCE, Setting, draw

from medscore.errors import MedscoreError
from medscore.io.files import atomic_write

TUNED = STORE / "tuned.json"
"""File of all trials."""

CHOSEN = dict.fromkeys(RANKED, 8) | {REFERENCE: 3, TV: 3}
"""Number of training slices on which each method's settings are chosen."""

TV_WEIGHTS = (1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3)
"""Weights of the total variation to try."""


def tune(data: Path, patterns: Sequence[str]) -> None:
    """Try all settings of the methods, and all weights of FISTA-TV for each task.

    The score is the mean PSNR of one sample on training patients with about 601 evaluations. All
    trials are stored; the rows use the best one.

    Args:
        data: folder of the development data.
        patterns: shell patterns of ``TASK - METHOD``.
    """
    tasks = [("MRI 8x", name) for name in (*RANKED, REFERENCE)] + [(THESIS, REFERENCE)]
    chosen = [t for t in tasks if matches(" - ".join(t), patterns)]
    for task, name in chosen:
        for setting in METHODS[name].settings:
            _try(task, name, setting, lambda t=task, n=name, s=setting: _drawn(t, data, n, s))
    peers = [r.task for r in ROWS if r.solver == TV and matches(r.name, patterns)]
    for task in peers:
        for weight in TV_WEIGHTS:
            _try(task, TV, (weight, 0.0), lambda t=task, w=weight: _tv(t, data, w))


def matches(name: str, patterns: Sequence[str]) -> bool:
    """True if a name matches one of several shell patterns.

    Args:
        name: ``TASK - METHOD``.
        patterns: the patterns.
    """
    return any(fnmatch(name, pattern) for pattern in patterns)


def _try(task: str, name: str, setting: Setting, measure: Callable[[], float]) -> None:
    title, key = f"{task} - {name}", f"{setting[0]:g}, {setting[1]:g}"
    if key in stored(TUNED, {}).get(title, {}):
        return
    try:
        psnr = measure()
    except MedscoreError as error:  # a diverged trial counts as the worst
        print(error)
        psnr = 0.0
    named = METHODS[name].named if name in METHODS else ("weight", "")
    print(f"{title} {named} {key}: {psnr:.2f} dB", flush=True)
    # read again: another process may have added trials
    kept: dict[str, dict[str, float]] = stored(TUNED, {})
    kept.setdefault(title, {})[key] = psnr
    atomic_write(TUNED, (json.dumps(kept, indent=1) + "\n").encode())


def _drawn(task: str, data: Path, name: str, setting: Setting) -> float:
    found = [problem(task, data, i, CHOSEN[name]) for i in range(CHOSEN[name])]
    method = replace(METHODS[name], steps=300) if name == REFERENCE else METHODS[name]
    groups = [list(range(len(found)))] if task in MRI_TASKS else [[i] for i in range(len(found))]
    psnr = []
    for group in groups:
        drawn = draw([found[i] for i in group], group, method, setting, [0])
        psnr += [found[i].score(x)[0] for i, x in zip(group, drawn.samples, strict=True)]
    return float(np.mean(psnr))


def _tv(task: str, data: Path, weight: float) -> float:
    found = [problem(task, data, i, CHOSEN[TV]) for i in range(CHOSEN[TV])]
    return float(np.mean([p.score(fista_tv(p, weight))[0] for p in found]))


def setting_of(row: Row) -> Setting:
    """The best trial: of a method on the task it was tuned on, of FISTA-TV on the row's task.

    Args:
        row: the row to compute.
    """
    if row.solver in METHODS and len(METHODS[row.solver].settings) == 1:
        return METHODS[row.solver].settings[0]
    task = "MRI 8x" if row.task in MRI_TASKS else row.task
    trials = stored(TUNED, {}).get(f"{task} - {row.solver}")
    if not trials:
        sys.exit(f"{task} - {row.solver} is not tuned yet: run benchmarks/conditioners.py --tune")
    first, second = (float(v) for v in max(trials, key=trials.__getitem__).split(", "))
    return first, second

"""Conditioners on real slices: the dissertation's ranking, the fast default, one prior for all.

    python benchmarks/conditioners.py --tune            # settings, on training patients
    python benchmarks/conditioners.py                   # all rows that are not stored yet
    python benchmarks/conditioners.py "MRI 8x*"         # some rows
    python benchmarks/conditioners.py --check           # two slices of every row again; < 10 min
    python benchmarks/conditioners.py --page docs/conditioners.md

Every row is kept in benchmarks/conditioners/, slice by slice, so an interrupted run goes on where
it stopped; the page holds the hash of all of them. ``--check`` computes the first sample of two
slices a row again, in two processes of one thread, and exits 1 if any differs by more than 0.05 dB
from what is stored, or if an asked number is missed. Needs the development data (--data). All rows
take about two hours on 2 cores; run two processes with one thread each (OMP_NUM_THREADS=1) and
different rows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import cache
from itertools import chain, repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from main_job import DATA
from methods import METHODS, RANKED, REFERENCE, Setting, draw
from number import Number
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

from medscore.errors import MedscoreError
from medscore.io.files import atomic_write
from medscore.operators.base import Operator
from medscore.reconstruction.baselines.total_variation import FISTATV

STORE = Path(__file__).with_name("conditioners")
TUNED = STORE / "tuned.json"
CHOSEN = dict.fromkeys(RANKED, 8) | {REFERENCE: 3}
"""Slices of training patients that each method's settings are chosen on; three for FISTA-TV."""

CT_TASKS: dict[str, Callable[[torch.Tensor, float, int], Problem]] = {
    "CT 10 views": views(10), "CT 20 views": views(20), "CT 23 views": views(23),
    "CT 45 views": views(45), f"CT 90 views, {PHOTONS:g} photons": views(90, PHOTONS),
    "CT 120 degrees": limited(120.0), "MAR": metal(None), "MAR, 45 views": metal(45),
}  # fmt: skip
MRI_TASKS = {"MRI 4x": mri(4.0), "MRI 8x": mri(8.0)}
TV_WEIGHTS = (1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3)
TV_ITERATIONS = 300
"""That the weights are chosen with, and all rows computed."""
NOISY = (f"CT 90 views, {PHOTONS:g} photons",)
WEIGHTED = "FISTA-TV, weighted"
"""By the deviation of each ray, as our methods are; all rays alike without that word. (Where one
deviation holds for all rays the two are one.)"""


@dataclass(frozen=True)
class Row:
    """A task and what solves it: a method, with samples, or FISTA-TV. ``together``: slices walked
    in one batch, where they share the operator.
    """

    task: str
    solver: str
    samples: int = 1
    together: int = 1

    @property
    def name(self) -> str:
        """Of its file."""
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
    """All slices of a task, or so many of training patients."""
    if task in MRI_TASKS:
        images = mri_train_slices(data, train) if train else mri_slices(data)
        return [MRI_TASKS[task](image, i) for i, image in enumerate(images)]
    slices = ct_train_slices(data, train) if train else ct_slices(data)
    return [CT_TASKS[task](hu, spacing, i) for i, (hu, spacing) in enumerate(slices)]


def tune(data: Path, patterns: Sequence[str]) -> None:
    """Every setting of every method that has some, and FISTA-TV's weight for every task, whose
    ``TASK - NAME`` matches: mean PSNR of one sample on training patients, with about 601
    evaluations. All trials are kept; the best setting is what rows use.
    """
    tasks = [("MRI 8x", name) for name in CHOSEN] + [("CT 23 views", REFERENCE)]
    chosen = [t for t in tasks if _matches(" - ".join(t), patterns)]
    for task, name in chosen:
        for setting in METHODS[name].settings:
            _try(task, name, setting, lambda t=task, n=name, s=setting: _drawn(t, data, n, s))
    peers = [r for r in ROWS if r.solver.startswith("FISTA")]
    chosen = [(r.task, r.solver) for r in peers if _matches(r.name, patterns)]
    for task, name in chosen:
        for weight in TV_WEIGHTS:
            _try(task, name, (weight, 0.0), lambda t=task, n=name, w=weight: _tv(t, n, data, w))


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _try(task: str, name: str, setting: Setting, measure: Callable[[], float]) -> None:
    title, key = f"{task} - {name}", f"{setting[0]:g}, {setting[1]:g}"
    if key in _stored(TUNED, {}).get(title, {}):
        return
    try:
        psnr = measure()
    except MedscoreError as error:  # diverged: a trial like any other, and the worst
        print(error)
        psnr = 0.0
    named = METHODS[name].named if name in METHODS else ("weight", "")
    print(f"{title} {named} {key}: {psnr:.2f} dB", flush=True)
    kept: dict[str, dict[str, float]] = _stored(TUNED, {})  # another process may have added some
    kept.setdefault(title, {})[key] = psnr
    atomic_write(TUNED, (json.dumps(kept, indent=1) + "\n").encode())


def _drawn(task: str, data: Path, name: str, setting: Setting) -> float:
    found = problems(task, data, CHOSEN[name])
    method = replace(METHODS[name], steps=300) if name == REFERENCE else METHODS[name]
    groups = [list(range(len(found)))] if task in MRI_TASKS else [[i] for i in range(len(found))]
    psnr = []
    for group in groups:
        drawn = draw([found[i] for i in group], group, method, setting, [0])
        psnr += [found[i].score(x)[0] for i, x in zip(group, drawn.samples, strict=True)]
    return float(np.mean(psnr))


def _tv(task: str, name: str, data: Path, weight: float) -> float:
    found = [fista_tv(*_seen(p, name), weight) for p in problems(task, data, 3)]
    pairs = zip(problems(task, data, 3), found, strict=True)
    return float(np.mean([p.score(x)[0] for p, x in pairs]))


def fista_tv(operator: Operator, y: torch.Tensor, weight: float) -> torch.Tensor:
    """Images (batch, 1, H, W) from measurements, both in the prior's range."""
    return FISTATV(weight=weight, iterations=TV_ITERATIONS).solve(operator, y)


def _seen(problem: Problem, name: str) -> tuple[Operator, torch.Tensor]:
    """Operator and measurements, weighted or not."""
    if name == WEIGHTED or problem.plain is None:
        return problem.operator, problem.y
    return problem.plain


def setting_of(row: Row) -> Setting:
    """The best trial of the method on the task it was tuned on; of FISTA-TV on the row's own."""
    if row.solver in METHODS and len(METHODS[row.solver].settings) == 1:
        return METHODS[row.solver].settings[0]
    task = "MRI 8x" if row.task in MRI_TASKS else row.task
    trials = _stored(TUNED, {}).get(f"{task} - {row.solver}")
    if not trials:
        sys.exit(f"{task} - {row.solver} is not tuned yet: run benchmarks/conditioners.py --tune")
    first, second = (float(v) for v in max(trials, key=trials.__getitem__).split(", "))
    return first, second


def solve(row: Row, group: list[int], data: Path, samples: Sequence[int]) -> list[dict[str, Any]]:
    """What is kept of each slice of a group: quality of every sample and of their mean, of what is
    known in closed form, evaluations, residual and seconds for each slice.
    """
    found = [problems(row.task, data)[i] for i in group]
    start = time.perf_counter()
    if row.solver.startswith("FISTA-TV"):
        weight, _ = setting_of(row)
        images = [fista_tv(*_seen(p, row.solver), weight) for p in found]
        nfe, residuals = (
            0,
            [float(p.operator.residual(x, p.y)) for p, x in zip(found, images, strict=True)],
        )
    else:
        drawn = draw(found, group, METHODS[row.solver], setting_of(row), samples)
        images, nfe, residuals = drawn.samples, drawn.nfe, drawn.residuals
    seconds = (time.perf_counter() - start) / len(group)
    return [
        {
            "slice": i,
            "each": [p.score(one[None]) for one in x],
            "mean": p.score(x.mean(0, keepdim=True)),
            "classical": {name: p.score(image) for name, image in p.classical.items()},
            "nfe": nfe,
            "residual": residual,
            "seconds": seconds,
        }
        for i, p, x, residual in zip(group, found, images, residuals, strict=True)
    ]


def fill(row: Row, data: Path, limit: int | None) -> None:
    """Compute what is not stored of a row."""
    path = STORE / f"{row.name}.json"
    kept: list[dict[str, Any]] = _stored(path, [])
    count = len(problems(row.task, data)[:limit])
    for first in range(0, count, row.together):
        there = {k["slice"] for k in kept}
        group = [i for i in range(first, min(first + row.together, count)) if i not in there]
        if not group:
            continue
        kept += solve(row, group, data, range(row.samples))
        last = kept[-1]
        print(f"{row.name} {first + 1}: {np.mean([e[0] for e in last['each']]):.2f} / "
              f"{last['mean'][0]:.2f} dB, {last['seconds']:.0f} s", flush=True)  # fmt: skip
        atomic_write(path, (json.dumps(kept, indent=1) + "\n").encode())


def check(row: Row, data: Path) -> Number:
    """The largest difference in PSNR of two slices' first samples, computed again, from what is
    stored.
    """
    kept = _stored(STORE / f"{row.name}.json", [])
    group = [k["slice"] for k in kept[:2]]
    parts = [group] if row.together > 1 else [[i] for i in group]
    again = [r for part in parts for r in solve(row, part, data, range(1))]
    gap = max(
        abs(a[0] - b[0])
        for new, old in zip(again, kept, strict=False)
        for a, b in zip(new["each"], old["each"], strict=False)
    )
    return Number(f"{row.name}: largest difference from what is stored (dB)", gap, at_most=0.05)


def _stored_nfe(row: Row) -> int:
    return int(_stored(STORE / f"{row.name}.json", [{"nfe": 0}])[0]["nfe"])


def digest() -> str:
    """SHA-256 of all that is stored."""
    found = hashlib.sha256()
    for path in sorted(STORE.glob("*.json")):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()


def _stored(path: Path, otherwise: Any) -> Any:
    return json.loads(path.read_text()) if path.exists() else otherwise


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", default=["*"], help="patterns of rows")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of development data")
    parser.add_argument("--limit", type=int, help="slices of a row, the first ones")
    parser.add_argument("--tune", action="store_true", help="choose the settings")
    parser.add_argument("--page", type=Path, help="write what is stored as a page")
    parser.add_argument("--check", action="store_true", help="two slices a row again; exit 1")
    args = parser.parse_args()
    STORE.mkdir(exist_ok=True)
    chosen = [row for row in ROWS if _matches(row.name, args.rows)]
    if args.tune:
        tune(args.data, args.rows)
    elif args.page:
        from conditioners_page import page

        args.page.write_text(page(STORE, digest()))
    elif args.check:
        from conditioners_page import numbers

        met = True
        with ProcessPoolExecutor(2, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
            longest = sorted(chosen, key=lambda row: -_stored_nfe(row))
            again = pool.map(check, longest, repeat(args.data))
            for number in chain(numbers(STORE), again):
                print(number, flush=True)
                met &= number.met
        return int(not met)
    else:
        for row in chosen:
            fill(row, args.data, args.limit)
    return 0


if __name__ == "__main__":
    sys.exit(main())

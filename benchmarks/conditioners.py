"""Conditioners on real slices: the dissertation's ranking, and the default against its method.

    python benchmarks/conditioners.py --tune            # choose settings on training patients
    python benchmarks/conditioners.py                   # compute all rows that are not stored yet
    python benchmarks/conditioners.py "MRI 8x*"         # compute some rows
    python benchmarks/conditioners.py --check           # recompute two slices per row; < 10 minutes
    python benchmarks/conditioners.py --page docs/benchmarks/conditioners.md

Every row is stored in benchmarks/conditioners/ slice by slice, so an interrupted run continues
where it stopped; the page holds the hash of all rows. ``--check`` recomputes the first sample of
two slices of each row, in two processes of one thread, and exits with 1 if any differs by more than
0.05 dB from the stored value or if a target is missed. Needs the development data (--data) and the
extra metal. All rows take about two hours on 2 cores; run two processes with one thread each
(OMP_NUM_THREADS=1) on different rows. The page shows the rows of conditioner_rows.py and no others
that the folder may hold.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conditioner_rows import ROWS, STORE, TV, Row, fista_tv, problem, slices, stored
from conditioner_tuning import matches, setting_of, tune
from conditioners_page import numbers, others, page
from development_data import DATA
from methods import METHODS, draw
from number import Number, exit_code, show

from medscore.io.files import atomic_write


def solve(
    row: Row, group: list[int], data: Path, samples: Sequence[int], precision: str = "auto"
) -> list[dict[str, Any]]:
    """Reconstruct some slices and measure quality and cost.

    Args:
        row: the row to compute.
        group: indices of the slices.
        data: folder of the development data.
        samples: indices of the samples to draw of each slice.
        precision: that of the network: float32, bf16 or auto.

    Returns:
        For each slice: PSNR and SSIM of every sample, of their mean and of the reconstructions in
        closed form; network evaluations and their precision, relative residual and seconds.
    """
    found = [problem(row.task, data, i) for i in group]
    start = time.perf_counter()
    if row.solver == TV:
        weight, _ = setting_of(row)
        images = [fista_tv(p, weight) for p in found]
        pairs = zip(found, images, strict=True)
        nfe, residuals = 0, [float(p.operator.residual(x, p.y)) for p, x in pairs]
    else:
        drawn = draw(
            found, group, METHODS[row.solver], setting_of(row), samples, precision=precision
        )
        images, nfe, residuals = drawn.samples, drawn.nfe, drawn.residuals
        precision = drawn.precision
    seconds = (time.perf_counter() - start) / len(group)
    return [
        {
            "slice": i,
            "each": [p.score(one[None]) for one in x],
            "mean": p.score(x.mean(0, keepdim=True)),
            "classical": {name: p.score(image) for name, image in p.classical.items()},
            "nfe": nfe,
            "precision": precision,
            "residual": residual,
            "seconds": seconds,
        }
        for i, p, x, residual in zip(group, found, images, residuals, strict=True)
    ]


def fill(row: Row, data: Path, limit: int | None) -> None:
    """Compute the slices of a row that are not stored yet.

    Args:
        row: the row to compute.
        data: folder of the development data.
        limit: compute the first slices only.
    """
    path = STORE / f"{row.name}.json"
    kept: list[dict[str, Any]] = stored(path, [])
    count = len(slices(row.task, data)[:limit])
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
    """Recompute the first samples of two slices; the largest difference in PSNR from the store.

    The precision of the network is the stored one; rows without one were computed in bfloat16.

    Args:
        row: the row to check.
        data: folder of the development data.
    """
    kept = stored(STORE / f"{row.name}.json", [])
    group = [k["slice"] for k in kept[:2]]
    parts = [group] if row.together > 1 else [[i] for i in group]
    precision = kept[0].get("precision", "bf16")
    again = [r for part in parts for r in solve(row, part, data, range(1), precision)]
    gap = max(
        abs(a[0] - b[0])
        for new, old in zip(again, kept, strict=False)
        for a, b in zip(new["each"], old["each"], strict=False)
    )
    return Number(f"{row.name}: largest difference from the stored PSNR (dB)", gap, at_most=0.05)


def _stored_nfe(row: Row) -> int:
    return int(stored(STORE / f"{row.name}.json", [{"nfe": 0}])[0]["nfe"])


def digest() -> str:
    """SHA-256 of the rows of the table, of the trials of their settings and of the calibrations."""
    found = hashlib.sha256()
    names = sorted([*(row.name for row in ROWS), "tuned", "calibration", "ranks"])
    for path in (STORE / f"{name}.json" for name in names):
        if path.exists():
            found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "rows", nargs="*", default=["*"], help="shell patterns of rows, TASK - METHOD"
    )
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the development data")
    parser.add_argument("--limit", type=int, help="compute the first slices of a row only")
    parser.add_argument(
        "--tune", action="store_true", help="choose the settings on training slices"
    )
    parser.add_argument("--page", type=Path, help="write the Markdown page to this file")
    parser.add_argument("--check", action="store_true", help="recompute two slices per row")
    args = parser.parse_args()
    STORE.mkdir(exist_ok=True)
    chosen = [row for row in ROWS if matches(row.name, args.rows)]
    if args.tune:
        tune(args.data, args.rows)
    elif args.page:
        args.page.write_text(page(STORE, digest()))
        if left := others(STORE):
            print(f"left out, because they are no rows of the table: {'; '.join(left)}")
    elif args.check:
        with ProcessPoolExecutor(2, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
            longest = sorted(chosen, key=lambda row: -_stored_nfe(row))
            again = pool.map(check, longest, repeat(args.data))
            return exit_code(show(chain(numbers(STORE), again)), check=True)
    else:
        for row in chosen:
            fill(row, args.data, args.limit)
    return 0


if __name__ == "__main__":
    sys.exit(main())

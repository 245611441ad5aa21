"""The best parameter of every learning-free baseline for every task of a comparison.

    python benchmarks/tune_baselines.py configs/eval/sparse-ct.yaml
    python benchmarks/tune_baselines.py configs/eval/mri.yaml --check

All values of a grid are scored by PSNR on five of the slices that the comparison reports (--limit).
This favours the baselines: medscore keeps its defaults. Prints what to write under ``at:`` of each
method; with --check the exit code is 1 if the configuration has other values. Finished slices are
stored (--store), so an interrupted run continues. Needs the data that the configuration names.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from development_data import DATA

from medscore.engine.spread import processes
from medscore.evaluation.cells import Store
from medscore.evaluation.comparison import cohort
from medscore.evaluation.config import EvaluationSpec, MethodSpec, read_evaluation
from medscore.evaluation.methods import Work, parameters
from medscore.evaluation.run import fill

WEIGHTS = [float(f"{a}e-{b}") for b in (6, 5, 4, 3) for a in (1, 3)]
GRIDS: dict[str, tuple[str, list[float] | list[int]]] = {
    "fista-tv": ("weight", WEIGHTS),
    "l1-wavelet": ("weight", [*WEIGHTS, 1e-2, 3e-2, 1e-1]),
    "cg-sense": ("weight", [*WEIGHTS, 1e-2, 3e-2, 1e-1, 3e-1]),
    "grappa": ("weight", [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]),
    "cgls": ("iterations", [10, 20, 50, 100, 200, 400]),
    "sirt": ("iterations", [50, 100, 200, 400, 800, 1600, 3200]),
}
"""The tuned parameter and its values, by kind of baseline."""


def best(
    spec: EvaluationSpec, where: Path, data: Path, store: Path, limit: int, workers: int
) -> dict[tuple[str, str], tuple[str, float, dict[float, float]]]:
    """Score all values of the grids.

    Args:
        spec: the comparison.
        where: its file.
        data: folder of the cohort's data.
        store: folder that stores finished slices.
        limit: the number of slices, equally spaced.
        workers: the number of processes.

    Returns:
        By method and task: the parameter, its best value, and the mean PSNR of every value in dB.
    """
    cases = cohort(spec.cohort, data, spec.tasks, limit)
    kept, work = Store(store), []
    kept.make()
    for method in spec.methods:
        if method.baseline is None or method.baseline["kind"] not in GRIDS:
            continue
        name, values = GRIDS[method.baseline["kind"]]
        for task in spec.tasks:
            for value in values:
                tried = MethodSpec(name=method.name, baseline={**method.baseline, name: value})
                work += [
                    Work(case, i, task, tried, spec.metric, spec.seed, where)
                    for i, case in enumerate(cases)
                ]
    cells = fill(kept, work, processes(workers, 1))
    scores: dict[tuple[str, str], dict[float, list[float]]] = {}
    for piece, cell in zip(work, cells, strict=True):
        assert piece.method.baseline is not None
        name = GRIDS[piece.method.baseline["kind"]][0]
        of = scores.setdefault((piece.method.name, piece.task.name), {})
        of.setdefault(piece.method.baseline[name], []).append(cell.qualities[cell.method].psnr)
    found = {}
    for (method_name, task_name), psnr in scores.items():
        means = {value: float(np.mean(p)) for value, p in psnr.items()}
        kind = next(m for m in spec.methods if m.name == method_name).baseline
        assert kind is not None
        found[method_name, task_name] = (
            GRIDS[kind["kind"]][0], max(means, key=means.__getitem__), means
        )  # fmt: skip
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="comparison (YAML), see configs/eval")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the cohort's data")
    parser.add_argument("--store", type=Path, help="folder that stores finished slices")
    parser.add_argument("--limit", type=int, default=5, help="number of slices, equally spaced")
    parser.add_argument("--processes", type=int, default=2, help="number of processes")
    parser.add_argument("--method", action="append", help="tune only this method; repeatable")
    parser.add_argument("--check", action="store_true", help="exit with 1 if the file differs")
    args = parser.parse_args()
    spec = read_evaluation(args.config)
    if args.method:
        methods = tuple(m for m in spec.methods if m.name in args.method)
        spec = spec.model_copy(update={"methods": methods})
    store = args.store or Path(tempfile.gettempdir()) / f"medscore-tuned-{spec.name}"
    differs = 0
    found = best(spec, args.config, args.data, store, args.limit, args.processes)
    for (method, task), (name, value, means) in found.items():
        given = parameters(next(m for m in spec.methods if m.name == method), task)[name]
        edge = " (at the end of the grid)" if value in (min(means), max(means)) else ""
        print(f"{method}, {task}: {name} {value:g}{edge}, {means[value]:.2f} dB; the file has "
              f"{given:g}: {means.get(given, float('nan')):.2f} dB", flush=True)  # fmt: skip
        differs += given != value
    for method in dict.fromkeys(m for m, _ in found):
        own = {task: {n: v} for (m, task), (n, v, _) in found.items() if m == method}
        text = ", ".join(f"{task}: {{{n}: {v:g}}}" for task, d in own.items() for n, v in d.items())
        print(f"{method}: at: {{{text}}}")
    return int(args.check and differs > 0)


if __name__ == "__main__":
    sys.exit(main())

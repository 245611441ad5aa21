"""Speed-up of a comparison with two processes over one process, each with one thread.

    python benchmarks/scaling.py            # about 5 minutes on 2 idle cores
    python benchmarks/scaling.py --check    # exit code 1 if a target is missed

The same comparison (sparse-view CT with 20 and 23 views, 8 samples) runs twice into new folders;
the results must be the same. Wall time excludes reading the cohort. Images: the COVID-19-NY-SBU
validation patients if --data holds them; otherwise the head slices that ship with pydicom, each
five times.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from development_data import DATA
from number import Number, exit_code, show

from medscore.engine.spread import processes
from medscore.evaluation.cells import Cell, Store
from medscore.evaluation.comparison import cohort, pieces
from medscore.evaluation.config import read_evaluation
from medscore.evaluation.run import fill

COMPARISONS = Path(__file__).resolve().parents[1] / "configs" / "eval"


def run(data: Path, count: int) -> tuple[float, list[Cell]]:
    """Run the comparison once.

    Args:
        data: folder of the development data.
        count: the number of processes.

    Returns:
        Wall time in seconds, and the cells in order.
    """
    where = COMPARISONS / "sparse-ct.yaml"
    spec = read_evaluation(where)
    spec = spec.model_copy(
        update={
            "tasks": tuple(t for t in spec.tasks if t.name in ("20 views", "23 views")),
            "methods": tuple(m for m in spec.methods if m.name == spec.ours),
            "pictures": 0,
        }
    )
    if list(data.glob(spec.cohort.data[0])):
        cases = cohort(spec.cohort, data, spec.tasks)
    else:
        bundled = read_evaluation(COMPARISONS / "bundled-ct.yaml").cohort
        cases = cohort(bundled, data, spec.tasks) * 5
    # cases are identified by their values, and repeated ones by the seed of their noise
    work = pieces(spec, cases, where, {})
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        start = time.perf_counter()
        cells = fill(store, work, processes(count, 1))
        return time.perf_counter() - start, cells


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the development data")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    args = parser.parse_args()
    (one, first), (two, second) = (run(args.data, count) for count in (1, 2))
    differ = sum(
        replace(a, seconds=0.0) != replace(b, seconds=0.0)
        for a, b in zip(first, second, strict=True)
    )
    print(f"{len(first)} cells: one process {one:.1f} s, two {two:.1f} s")
    numbers = [
        Number("speed-up of two processes over one, wall time", one / two, at_least=1.7),
        Number("cells that differ", differ, at_most=0),
    ]
    return exit_code(show(numbers), check=args.check)


if __name__ == "__main__":
    sys.exit(main())

"""Error bars and second-order scores: closed forms, costs, and real slices of other patients.

    python benchmarks/uncertainty.py --part ozaki                # one part; repeat for several
    python benchmarks/uncertainty.py --part coverage --runs runs/uncertainty
    python benchmarks/uncertainty.py --check                     # exit 1 if a target is missed
    python benchmarks/uncertainty.py --part coverage --limit 2 --steps 5     # a few minutes

Every part is a module ``uncertainty_PART`` of this folder, whose docstring says what it measures.
Finished parts are kept in --json and finished slices in --runs, so an interrupted run continues.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path

from development_data import DATA
from number import Number, exit_code, finished
from uncertainty_settings import Settings

PARTS = (
    "second_order", "table41", "table42", "ozaki", "head", "covariance", "posterior", "default",
    "coverage", "dropout",
)  # fmt: skip
"""Names of the parts; each is a module with ``numbers(settings)``."""


def numbers(part: str, settings: Settings) -> Iterator[Number]:
    """The numbers of a part.

    Args:
        part: name of the part.
        settings: settings of the measurement.
    """
    yield from import_module(f"uncertainty_{part}").numbers(settings)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, action="append", help="part; all by default")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the development data")
    parser.add_argument("--runs", type=Path, default=Path("runs/uncertainty"))
    parser.add_argument("--json", type=Path, help="file of finished parts")
    parser.add_argument("--check", action="store_true", help="exit 1 if a target is missed")
    parser.add_argument("--limit", type=int, help="largest number of slices of a cohort")
    parser.add_argument("--steps", type=int, help="steps of the sampler, for a quick look")
    parser.add_argument("--processes", type=int, default=1, help="number of processes")
    args = parser.parse_args()
    settings = Settings(args.data, args.runs, args.limit, args.steps, args.processes)
    parts: dict[str, Callable[[], Iterator[Number]]] = {
        part: partial(numbers, part, settings) for part in PARTS
    }
    return exit_code(finished(parts, args.json, args.part), check=args.check)


if __name__ == "__main__":
    sys.exit(main())

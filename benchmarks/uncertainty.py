"""Error bars and second-order scores: closed forms, costs, and real slices of other patients.

    python benchmarks/uncertainty.py --part ozaki                # one part; repeat for several
    python benchmarks/uncertainty.py --part coverage --runs runs/uncertainty
    python benchmarks/uncertainty.py --check                     # exit 1 if a target is missed
    python benchmarks/uncertainty.py --part coverage --limit 2 --steps 5     # a few minutes
    python benchmarks/uncertainty.py --json out.json --page docs/benchmarks/uncertainty.md

Every part is a module ``uncertainty_PART`` of this folder, whose docstring says what it measures.
Finished parts are kept in --json and finished slices in --runs, so an interrupted run continues.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from development_data import DATA
from in_parts import numbers, page
from number import Number, exit_code, finished
from uncertainty_settings import Settings

PARTS = {
    "second_order": "Second-order score matching",
    "table41": "Table 4.1: errors of second-order scores",
    "table42": "Table 4.2: time of a covariance",
    "ozaki": "Ozaki's discretisation",
    "head": "A learned covariance against the exact one",
    "covariance": "Posterior variances of the shipped priors",
    "posterior": "The default against known posteriors",
    "coverage": "Intervals on real slices",
    "default": "The default against DiffPIR",
    "dropout": "The default against Monte Carlo dropout",
}
"""Names of the parts with their titles; each is a module with ``numbers(settings)``."""

INTRO = """# Error bars

What [error bars](../uncertainty.md), [denoising with uncertainty](../denoising.md) and
[learned covariances](../covariance.md) rest on: closed forms, costs, and slices of patients on whom
neither weights nor intervals were fitted.

Written by `python benchmarks/uncertainty.py --json FILE --page docs/benchmarks/uncertainty.md`; do
not edit by hand. The slices of patients need the development data (`--data`) and about six hours
of one core; finished parts are kept in the JSON file and finished slices in `--runs`, so an
interrupted run continues. The slices on this page are those of 128 x 128 (`--cohort calibrate-ct`
and `calibrate-mri`; the comparison with DiffPIR is of CT); those of 512 x 512 take 13 minutes each.

"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, action="append", help="part; all by default")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the development data")
    parser.add_argument("--runs", type=Path, default=Path("runs/uncertainty"))
    parser.add_argument("--json", type=Path, help="file of finished parts")
    parser.add_argument("--page", type=Path, help="Markdown page to write from the JSON file")
    parser.add_argument("--check", action="store_true", help="exit 1 if a target is missed")
    parser.add_argument("--limit", type=int, help="largest number of slices of a cohort")
    parser.add_argument(
        "--cohort", action="append", default=[], help="calibration whose slices are judged, as "
        "calibrate-ct; all by default",
    )  # fmt: skip
    parser.add_argument("--steps", type=int, help="steps of the sampler, for a quick look")
    parser.add_argument("--processes", type=int, default=1, help="number of processes")
    args = parser.parse_args()
    settings = Settings(
        args.data, args.runs, args.limit, args.steps, args.processes, tuple(args.cohort)
    )
    parts: dict[str, Callable[[], Iterator[Number]]] = {
        part: partial(numbers, "uncertainty", part, settings) for part in PARTS
    }
    if args.page and not args.json:
        parser.error("--page needs --json")
    found = finished(parts, args.json, args.part)
    if args.page:
        kept = json.loads(args.json.read_text())
        args.page.write_text(page("uncertainty", INTRO, PARTS, kept))
    return exit_code(found, check=args.check)


if __name__ == "__main__":
    sys.exit(main())

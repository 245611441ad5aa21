"""Second-order scores and the uncertainty of images: proofs in numbers, in parts.

    python benchmarks/uncertainty.py                       # all parts that need no data
    python benchmarks/uncertainty.py --part ozaki --check  # exit code 1 if a target is missed
    python benchmarks/uncertainty.py --part covariance --data DATA
    python benchmarks/uncertainty.py --json out.json

Each part is a file of its own, ``uncertainty_PART.py``, which says what it measures and how long it
takes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import uncertainty_covariance
import uncertainty_ozaki
from number import Number, exit_code, machine, show, to_json

Part = Callable[[Path | None], Iterator[Number]]
"""The numbers of a part, given the folder of the data."""

PARTS: dict[str, Part] = {
    "ozaki": uncertainty_ozaki.numbers,
    "covariance": uncertainty_covariance.numbers,
}
"""All parts by name."""

NEED_DATA = ("covariance",)
"""Parts that read ``--data``."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--part", action="append", choices=PARTS, help="part to run, repeatable; default: all"
    )
    parser.add_argument("--data", type=Path, help="folder of images for the parts that need them")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    args = parser.parse_args()
    chosen = args.part or [name for name in PARTS if args.data or name not in NEED_DATA]
    if args.data is None and (lacking := [name for name in chosen if name in NEED_DATA]):
        parser.error(f"--part {lacking[0]} needs --data")
    numbers = show(chain.from_iterable(PARTS[name](args.data) for name in chosen))
    if args.json:
        found = {"machine": machine(), "parts": chosen, "numbers": to_json(numbers)}
        args.json.write_text(json.dumps(found) + "\n")
    return exit_code(numbers, check=args.check)


if __name__ == "__main__":
    sys.exit(main())

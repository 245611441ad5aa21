"""Second-order scores and uncertainty: proofs in closed form, and what they cost.

    python benchmarks/uncertainty.py                     # all parts
    python benchmarks/uncertainty.py --part table41      # one part; repeat for several
    python benchmarks/uncertainty.py --check             # exit code 1 if a target is missed
    python benchmarks/uncertainty.py --json out.json

Each part is a file ``uncertainty_NAME.py`` beside this one. Its ``numbers`` yields its values from
the folder of the data, or None.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from number import Number, exit_code, show, to_json

HERE = Path(__file__).resolve().parent


def parts() -> list[str]:
    """Names of all parts."""
    return sorted(path.stem.removeprefix("uncertainty_") for path in HERE.glob("uncertainty_*.py"))


def measured(names: list[str]) -> Iterator[Number]:
    """The numbers of some parts.

    Args:
        names: names of the parts.
    """
    for name in names:
        yield from importlib.import_module(f"uncertainty_{name}").numbers(None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", action="append", choices=parts(), help="one part; all by default")
    parser.add_argument("--check", action="store_true", help="exit code 1 if a target is missed")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    args = parser.parse_args()
    numbers = show(measured(args.part or parts()))
    if args.json:
        args.json.write_text(json.dumps(to_json(numbers), indent=1) + "\n")
    return exit_code(numbers, check=args.check)


if __name__ == "__main__":
    sys.exit(main())

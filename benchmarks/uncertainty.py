"""Second-order scores and uncertainty: proofs in closed form, and what they cost.

    python benchmarks/uncertainty.py                       # all parts that need no data
    python benchmarks/uncertainty.py --part ozaki          # one part; repeat for several
    python benchmarks/uncertainty.py --part covariance --data DATA
    python benchmarks/uncertainty.py --check               # exit code 1 if a target is missed
    python benchmarks/uncertainty.py --json out.json

Each part is a file ``uncertainty_NAME.py`` beside this one, which says what it measures and how
long it takes. Its ``numbers`` yields its values, given the folder of the data or None; a part that
cannot do without the folder sets ``NEEDS_DATA``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

from number import Number, exit_code, machine, show, to_json

HERE = Path(__file__).resolve().parent


def parts() -> list[str]:
    """Names of all parts."""
    return sorted(path.stem.removeprefix("uncertainty_") for path in HERE.glob("uncertainty_*.py"))


def part(name: str) -> ModuleType:
    """The file of a part.

    Args:
        name: name of the part.
    """
    return import_module(f"uncertainty_{name}")


def measured(names: list[str], data: Path | None) -> Iterator[Number]:
    """The numbers of some parts.

    Args:
        names: names of the parts.
        data: folder of the data; None for none.
    """
    for name in names:
        yield from part(name).numbers(data)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", action="append", choices=parts(), help="one part; all by default")
    parser.add_argument("--data", type=Path, help="folder of images for the parts that need them")
    parser.add_argument("--check", action="store_true", help="exit code 1 if a target is missed")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    args = parser.parse_args()
    needy = [name for name in parts() if getattr(part(name), "NEEDS_DATA", False)]
    if args.data is None and (lacking := [name for name in args.part or () if name in needy]):
        parser.error(f"--part {lacking[0]} needs --data")
    chosen = args.part or [name for name in parts() if args.data or name not in needy]
    numbers = show(measured(chosen, args.data))
    if args.json:
        found = {"machine": machine(), "parts": chosen, "numbers": to_json(numbers)}
        args.json.write_text(json.dumps(found) + "\n")
    return exit_code(numbers, check=args.check)


if __name__ == "__main__":
    sys.exit(main())

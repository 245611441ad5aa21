"""Volumes: slices reconstructed together, cone beams, and what large volumes cost.

    python benchmarks/volumes.py --part cone                     # one part; repeat for several
    python benchmarks/volumes.py --part stack --runs runs/volumes
    python benchmarks/volumes.py --check                         # exit 1 if a target is missed
    python benchmarks/volumes.py --slices 8 --steps 5            # a few minutes
    python benchmarks/volumes.py --json out.json --page docs/benchmarks/volumes.md

Every part is a module ``volumes_PART`` of this folder, whose docstring says what it measures.
Finished parts are kept in --json and finished reconstructions in --runs, so an interrupted run
continues.
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
from volumes_settings import Settings

PARTS = {
    "strength": "The strength across slices",
    "stack": "A volume scanned slice by slice",
    "cone": "A cone-beam scan",
    "cost": "Time and memory",
}
"""Names of the parts with their titles; each is a module with ``numbers(settings)``."""

INTRO = """# Volumes

What [volumes](../volumes.md) rests on. Written by `python benchmarks/volumes.py --json FILE --page
docs/benchmarks/volumes.md`; do not edit by hand. It needs the development data (`--data`) and about
four hours of one core; finished parts are kept in the JSON file and finished reconstructions in
`--runs`, so an interrupted run continues.

"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, action="append", help="part; all by default")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the development data")
    parser.add_argument("--runs", type=Path, default=Path("runs/volumes"))
    parser.add_argument("--json", type=Path, help="file of finished parts")
    parser.add_argument("--page", type=Path, help="Markdown page to write from the JSON file")
    parser.add_argument("--check", action="store_true", help="exit 1 if a target is missed")
    parser.add_argument("--slices", type=int, help="largest number of slices of a volume")
    parser.add_argument("--steps", type=int, help="steps of the sampler, for a quick look")
    args = parser.parse_args()
    settings = Settings(args.data, args.runs, args.slices, args.steps)
    parts: dict[str, Callable[[], Iterator[Number]]] = {
        part: partial(numbers, "volumes", part, settings) for part in PARTS
    }
    if args.page and not args.json:
        parser.error("--page needs --json")
    found = finished(parts, args.json, args.part)
    if args.page:
        kept = json.loads(args.json.read_text())
        args.page.write_text(page("volumes", INTRO, PARTS, kept))
    return exit_code(found, check=args.check)


if __name__ == "__main__":
    sys.exit(main())

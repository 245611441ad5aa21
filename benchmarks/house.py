"""The house: layout, documented parameters, start-up times, quick tests, cost of an extension.

Start-up is compared with a baseline in the same run, ``python -c "import numpy"``; each time is the
median of five runs.

    python benchmarks/house.py --check --page docs/benchmarks/house.md
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import documented
import import_graph
from number import Number, exit_code, machine, show, table, to_json

ROOT = Path(__file__).resolve().parent.parent
RUNS = 5
MEBIBYTE = 1024
"""In the unit of ``ru_maxrss`` on Linux, KiB."""

MAIN = "import sys; from medscore.cli import main; sys.argv = ['medscore', {}]; main()"


def layout() -> Iterator[Number]:
    """Loose files, cycles and upward imports."""
    graph = import_graph.import_graph()
    yield Number("loose modules in medscore/", len(import_graph.loose()), at_most=10)
    yield Number("cycles of files", len(import_graph.cycles(graph)), at_most=0)
    found = len(import_graph.cycles(import_graph.folders(graph)))
    yield Number("cycles of folders", found, at_most=0)
    yield Number("upward imports", len(import_graph.upward(graph)), at_most=0)


def docs() -> Iterator[Number]:
    """Share of public parameters that a docstring names."""
    every = documented.parameters()
    yield Number("public parameters", len(every))
    share = 100 * sum(every.values()) / len(every)
    yield Number("public parameters documented", share, "%", at_least=90)


MEASURE = """
import json, os, subprocess, sys, time
runs = []
for _ in range(int(sys.argv[1])):
    start = time.perf_counter()
    null = subprocess.DEVNULL
    process = subprocess.Popen([sys.executable, '-c', sys.argv[2]], stdout=null, stderr=null)
    usage = os.wait4(process.pid, 0)[2]
    runs.append((time.perf_counter() - start, usage.ru_maxrss))
print(json.dumps(runs))
"""
"""Run in a small process of its own: the peak of a child counts from that of its parent."""


def measured(code: str) -> tuple[float, float]:
    """Wall time in seconds and peak memory in MiB of a Python process: medians of five.

    Args:
        code: what it runs.
    """
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(RUNS), code], check=True, capture_output=True, text=True
    )
    times, peaks = zip(*json.loads(done.stdout), strict=True)
    return statistics.median(times), statistics.median(peaks) / MEBIBYTE


def startup() -> Iterator[Number]:
    """Times and memory of importing medscore and of the command line's first words."""
    peer, _ = measured("import numpy")
    own, _ = measured("import medscore")
    yield Number('python -c "import numpy", the peer', peer, "s")
    yield Number("import medscore", own, "s", at_most=0.3)
    yield Number("import medscore over the peer", own / peer, "x", at_most=6)
    for name, arguments in (
        ("medscore --help", "'--help'"),
        ("medscore --version", "'--version'"),
        ("medscore recon --wrong", "'recon', '--wrong'"),
    ):
        seconds, peak = measured(MAIN.format(arguments))
        yield Number(name, seconds, "s", at_most=1.0)
        yield Number(f"{name}, peak memory", peak, "MiB", at_most=150)


def extension() -> Iterator[Number]:
    """Files that a new conditioner touches, in a copy of the repository whose tests then pass."""
    sys.path.insert(0, str(ROOT / "tests"))
    import test_extending

    with tempfile.TemporaryDirectory() as folder:
        copy = test_extending.copied(Path(folder))
        touched = test_extending.add(copy)
        done = test_extending.run(copy, *test_extending.GUARDS, "-k", test_extending.CHOSEN)
    new = sum(line.endswith(": new") for line in touched)
    yield Number("new files for a conditioner, its proof among them", new, at_most=2)
    lines = sum(int(line.rsplit(": ", 1)[1]) for line in touched if not line.endswith(": new"))
    yield Number("lines in other files: registry, docs", lines, at_most=2)
    yield Number("exit status of the tests of the copy", done.returncode, at_most=0)


def quick_lane() -> Iterator[Number]:
    """Wall time of plain ``pytest``."""
    environment = {k: v for k, v in os.environ.items() if k != "MEDSCORE_SHAPES"}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q"], cwd=ROOT, env=environment, capture_output=True,
        text=True,
    )  # fmt: skip
    yield Number("plain pytest", time.perf_counter() - start, "s", at_most=120)
    yield Number("exit status of plain pytest", done.returncode, at_most=0)


def page(numbers: Sequence[Number]) -> str:
    """The Markdown page of the results.

    Args:
        numbers: the rows of its table.
    """
    lines = [
        "# The package itself",
        "",
        "Start-up time and memory, layout of the code, documentation of public parameters, cost of",
        "adding a conditioner, and duration of the quick tests.",
        "",
        "Written by `python benchmarks/house.py --page docs/benchmarks/house.md`; do not edit by",
        "hand.",
        "",
        f"- Start-up: median of {RUNS} processes, beside `import numpy` in the same run.",
        f"- Machine: {machine()}.",
        "",
    ]
    return "\n".join([*lines, *table(numbers)]) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    parser.add_argument("--page", type=Path, help="Markdown page to write")
    parser.add_argument("--without-tests", action="store_true", help="skip the two runs of pytest")
    args = parser.parse_args(arguments)

    def numbers() -> Iterator[Number]:
        yield from startup()
        yield from layout()
        yield from docs()
        if not args.without_tests:
            yield from extension()
            yield from quick_lane()

    shown = show(numbers())
    if args.json:
        args.json.write_text(json.dumps(to_json(shown), indent=1) + "\n")
    if args.page:
        args.page.write_text(page(shown))
    return exit_code(shown, check=args.check)


if __name__ == "__main__":
    sys.exit(main())

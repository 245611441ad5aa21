"""Public cases: inputs on which software of this field goes wrong, and what medscore makes of them.

Each file of ``benchmarks/cases/`` but ``base.py`` holds the cases of an area in ``CASES``. The
inputs are synthetic; no file is needed.

    python benchmarks/public_cases.py --check --page docs/benchmarks/public-cases.md
    python benchmarks/public_cases.py --only ismrmrd
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # the checkout, also for the child processes' own imports

from cases.base import Case, Found  # noqa: E402

INTRODUCTION = """# Public cases

Inputs on which software of this field is known to go wrong, the right value, and what medscore
finds. The inputs are synthetic and made by the files in `benchmarks/cases/`. Written by

    python benchmarks/public_cases.py --check --page docs/benchmarks/public-cases.md
"""


def areas() -> list[str]:
    """Names of the files with cases."""
    return sorted(p.stem for p in (HERE / "cases").glob("*.py") if p.stem != "base")


def cases(only: str | None = None) -> Iterator[Case]:
    """All cases.

    Args:
        only: name of a file in ``benchmarks/cases/``; ``None``: all.
    """
    for area in areas():
        if only in (None, area):
            yield from importlib.import_module(f"cases.{area}").CASES


def tried(case: Case) -> Found:
    """Run a case in a folder of its own; an exception is what it found.

    Args:
        case: the case.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            return case.find(Path(folder))
        except Exception as error:
            return Found(f"{type(error).__name__}: {error}".splitlines()[0], right=False)


def page(results: Sequence[tuple[Case, Found]]) -> str:
    """The table as Markdown.

    Args:
        results: the cases with what was found.
    """
    lines = [INTRODUCTION]
    for kind in dict.fromkeys(case.kind for case, _ in results):
        lines += [
            f"## {kind}",
            "",
            "| input | expected | found | source |",
            "| --- | --- | --- | --- |",
        ]
        for case, found in results:
            if case.kind == kind:
                cells = (case.what, case.expected, found.text, case.source)
                lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    wrong = sum(not found.right for _, found in results)
    lines.append(f"{len(results)} cases, {wrong} wrong.\n")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, and check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a case is wrong")
    parser.add_argument("--only", choices=areas(), help="cases of one area")
    parser.add_argument("--page", type=Path, help="Markdown page to write")
    args = parser.parse_args(arguments)
    results = []
    for case in cases(args.only):
        found = tried(case)
        results.append((case, found))
        verdict = "ok   " if found.right else "WRONG"
        print(f"{verdict} {case.kind}: {case.what}: {found.text} ({case.expected})", flush=True)
    if args.page:
        args.page.write_text(page(results))
    return int(args.check and not all(found.right for _, found in results))


if __name__ == "__main__":
    sys.exit(main())
